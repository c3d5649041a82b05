"""One scene as tools for labelling export it: their folders, names, fields and whims, written here.

Each image is 6x4 (width x height): a car in columns 1 to 3 of rows 1 and 2, a road along row 3, nothing else.
"""

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 6, 4
LABELS = np.array([[0] * 6, [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [2] * 6], np.uint8)
"""0 background, 1 car, 2 road."""
BOXES = {"car": [1, 1, 4, 3], "road": [0, 3, 6, 4]}
COLOURS = {"background": (0, 0, 0), "car": (250, 50, 83), "road": (51, 221, 255)}
CAR, ROAD = [1, 1, 4, 1, 4, 3, 1, 3], [0, 3, 6, 3, 6, 4, 0, 4]


def photo(file: Path) -> None:
    """A photograph of its own for each name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, str(file)))
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(file)


def ids_png(file: Path, ids: np.ndarray, palette: list[int] | None = None) -> None:
    """A label image of ids, with a palette or in grey."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids.astype(np.uint8))
    if palette is not None:
        image = image.convert("P") if image.mode != "P" else image
        image = Image.fromarray(ids.astype(np.uint8), mode="L")
        image.putpalette(palette)
    image.save(file)


def painted_png(file: Path) -> None:
    """A label image in the colours of its classes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(list(COLOURS.values()), np.uint8)[LABELS]).save(file)


def text(file: Path, content: str, encoding: str = "utf-8") -> None:
    """A text file, with folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode(encoding))


def coco_document(files: list[str], categories: list[dict[str, Any]], **more: object) -> dict[str, Any]:
    """The car as a polygon, the road as a mask of runs, one crowd."""
    by_name = {row["name"]: row["id"] for row in categories}
    images = [
        {"id": n + 1, "width": WIDTH, "height": HEIGHT, "file_name": file, **more} for n, file in enumerate(files)
    ]
    road = {"counts": [3, 1] * 6, "size": [HEIGHT, WIDTH]}
    annotations = []
    for image in images:
        first = {"image_id": image["id"], "category_id": by_name["car"], "segmentation": [CAR], "area": 6.0}
        second = {"image_id": image["id"], "category_id": by_name["road"], "segmentation": road, "area": 6.0}
        annotations += [
            {"id": len(annotations) + 1, **first, "bbox": [1.0, 1.0, 3.0, 2.0], "iscrowd": 0},
            {"id": len(annotations) + 2, **second, "bbox": [0.0, 3.0, 6.0, 1.0], "iscrowd": 1},
        ]
    return {"images": images, "annotations": annotations, "categories": categories}


def cvat_coco(root: Path) -> None:
    """CVAT, 'COCO 1.0': subsets in file names, categories without groups, attributes beside annotations."""
    categories = [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(("car", "road"), 1)]
    head = {"licenses": [{"name": "", "id": 0, "url": ""}], "info": {"contributor": "", "version": ""}}
    for split in ("train", "val"):
        document = coco_document(["a.jpg", "b.jpg"], categories, license=0, flickr_url="", date_captured=0)
        for row in document["annotations"]:
            row["attributes"] = {"occluded": False}
        text(root / "annotations" / f"instances_{split}.json", json.dumps({**head, **document}))
        for name in ("a", "b"):
            photo(root / "images" / split / f"{name}.jpg")


def roboflow_coco(root: Path) -> None:
    """Roboflow, 'COCO Segmentation': `valid`, names with a hash, a category for the project."""
    categories = [
        {"id": 0, "name": "streets", "supercategory": "none"},
        {"id": 1, "name": "car", "supercategory": "streets"},
        {"id": 2, "name": "road", "supercategory": "streets"},
    ]
    for split in ("train", "valid", "test"):
        names = [f"{key}_png.rf.8{split}{key}.jpg" for key in "ab"]
        document = coco_document(names, categories, license=1, date_captured="2026-05-01T10:00:00+00:00")
        document["info"] = {"year": "2026", "version": "1", "description": "Exported from roboflow.com"}
        for image, key in zip(document["images"], "ab", strict=True):
            image["extra"] = {"name": f"{key}.png"}
        text(root / split / "_annotations.coco.json", json.dumps(document))
        for name in names:
            photo(root / split / name)
    text(root / "README.roboflow.txt", "streets - v1\n")
    text(root / "README.dataset.txt", "# streets\n")


def label_studio_coco(root: Path) -> None:
    """Label Studio, 'COCO with images', on Windows: one file, ids from 0, `%20` in names, a byte order mark."""
    categories = [{"id": 0, "name": "car"}, {"id": 1, "name": "road"}]
    document = coco_document(["images\\4f2e-a%20a.jpg", "images\\4f2f-b.jpg"], categories)
    text(root / "result.json", json.dumps(document, indent=2), "utf-8-sig")
    photo(root / "images" / "4f2e-a a.jpg")
    photo(root / "images" / "4f2f-b.jpg")


def published_coco(root: Path) -> None:
    """COCO itself, and what is converted to it: years in the names of splits."""
    categories = [
        {"supercategory": "vehicle", "id": 3, "name": "car"},
        {"supercategory": "way", "id": 7, "name": "road"},
    ]
    for split in ("train2017", "val2017"):
        document = coco_document(["000000000001.jpg", "000000000002.jpg"], categories, coco_url="http://x/1.jpg")
        text(root / "annotations" / f"instances_{split}.json", json.dumps(document))
        text(root / "annotations" / f"captions_{split}.json", json.dumps({"images": [], "annotations": []}))
        for number in (1, 2):
            photo(root / split / f"00000000000{number}.jpg")


def outline_lines(names: list[str]) -> str:
    """The scene in YOLO's form."""
    lines = []
    for name, corners in (("car", CAR), ("road", ROAD)):
        parts = [f"{value / (WIDTH, HEIGHT)[place % 2]:.6g}" for place, value in enumerate(corners)]
        lines.append(f"{names.index(name)} {' '.join(parts)}")
    return "\n".join(lines)


def box_lines(names: list[str]) -> str:
    """The boxes of the scene in YOLO's form."""
    lines = []
    for name, (x0, y0, x1, y1) in BOXES.items():
        middle = (x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / HEIGHT
        lines.append(" ".join(map(str, (names.index(name), *middle, (x1 - x0) / WIDTH, (y1 - y0) / HEIGHT))))
    return "\n".join(lines)


def ultralytics_seg(root: Path) -> None:
    """Ultralytics: `data.yaml` with a path of another machine, names by number, images/SPLIT beside labels/SPLIT."""
    names = "names:\n  0: car\n  1: road\n"
    text(
        root / "data.yaml",
        f"path: ../datasets/streets # root dir\ntrain: images/train\nval: images/val\ntest:\n{names}",
    )
    for split in ("train", "val"):
        for key in "ab":
            photo(root / "images" / split / f"{key}.jpg")
            text(root / "labels" / split / f"{key}.txt", outline_lines(["car", "road"]))
        text(root / "labels" / f"{split}.cache", "x")


def roboflow_yolo(root: Path) -> None:
    """Roboflow, 'YOLOv8': paths that begin above the folder, names as a list in the order of the alphabet."""
    text(
        root / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['car', 'road']\n\n"
        "roboflow:\n  workspace: me\n  project: streets\n  version: 1\n  license: CC BY 4.0\n",
    )
    for split in ("train", "valid", "test"):
        for key in "ab":
            photo(root / split / "images" / f"{key}_jpg.rf.0{key}.jpg")
            text(root / split / "labels" / f"{key}_jpg.rf.0{key}.txt", box_lines(["car", "road"]))
    text(root / "README.roboflow.txt", "streets - v1\n")


def cvat_yolo(root: Path) -> None:
    """CVAT, 'Ultralytics YOLO': splits as lists of images, with a folder before each name that is not there."""
    text(root / "data.yaml", "names:\n  0: car\n  1: road\npath: .\ntrain: train.txt\nval: val.txt\n")
    for split in ("train", "val"):
        for key in "ab":
            photo(root / "images" / split / f"{key}.png")
            text(root / "labels" / split / f"{key}.txt", outline_lines(["car", "road"]))
        text(root / f"{split}.txt", f"data/images/{split}/a.png\ndata/images/{split}/b.png\n")


def label_studio_yolo(root: Path) -> None:
    """Label Studio, 'YOLO with images': classes in a text file, no splits."""
    text(root / "classes.txt", "car\nroad\n")
    text(root / "notes.json", '{"categories": [{"id": 0, "name": "car"}], "info": {"year": 2026}}')
    for key in "ab":
        photo(root / "images" / f"0c1-{key}.jpg")
        text(root / "labels" / f"0c1-{key}.txt", box_lines(["car", "road"]))


def voc_xml(name: str) -> str:
    """An annotation as LabelImg and the development kit have it: pixels from 1, the last one included."""
    objects = "".join(
        f"<object><name>{kind}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult><bndbox>"
        f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for kind, (x0, y0, x1, y1) in BOXES.items()
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    head = f"<folder>VOC</folder><filename>{name}</filename>{size}<segmented>1</segmented>"
    return f"<annotation>{head}{objects}</annotation>"


def cvat_voc(root: Path) -> None:
    """CVAT, 'Segmentation mask 1.1': painted masks, their colours in labelmap.txt, lists of subsets."""
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in COLOURS.items()]
    text(root / "labelmap.txt", "\n".join(["# label:color_rgb:parts:actions", *lines]) + "\n")
    for split, keys in (("train", "ab"), ("val", "c")):
        text(root / "ImageSets" / "Segmentation" / f"{split}.txt", "".join(f"{key}\n" for key in keys))
        for key in keys:
            photo(root / "JPEGImages" / f"{key}.jpg")
            painted_png(root / "SegmentationClass" / f"{key}.png")
            painted_png(root / "SegmentationObject" / f"{key}.png")


def published_voc(root: Path) -> None:
    """Pascal VOC as published, in its folders: palette masks with a border of 255, lists of splits and of classes."""
    top = root / "VOCdevkit" / "VOC2012"
    ids = np.where(LABELS == 1, 7, 0)  # its seventh class is the car
    ids[0, 0] = 255
    palette = np.zeros((256, 3), np.uint8)
    palette[7], palette[255] = (128, 128, 128), (224, 224, 192)
    for split, keys in (("train", "a"), ("val", "b")):
        listed = "".join(f"2007_00000{key}\n" for key in keys)
        text(top / "ImageSets" / "Segmentation" / f"{split}.txt", listed)
        text(top / "ImageSets" / "Main" / f"{split}.txt", listed)
        text(top / "ImageSets" / "Main" / f"car_{split}.txt", "".join(f"2007_00000{key}  1\n" for key in keys))
        for key in keys:
            photo(top / "JPEGImages" / f"2007_00000{key}.jpg")
            ids_png(top / "SegmentationClass" / f"2007_00000{key}.png", ids, palette.ravel().tolist())
            only_car = voc_xml(f"2007_00000{key}.jpg").replace("<name>road</name>", "<name>car</name>")
            text(top / "Annotations" / f"2007_00000{key}.xml", only_car)


def labelme_voc(root: Path) -> None:
    """Labelme's script for Pascal VOC: class_names.txt, masks as PNG in a folder of their own."""
    text(root / "class_names.txt", "__ignore__\n_background_\ncar\nroad")
    for key in "ab":
        photo(root / "JPEGImages" / f"{key}.jpg")
        ids_png(root / "SegmentationClassPNG" / f"{key}.png", LABELS, [0, 0, 0, 128, 0, 0, 0, 128, 0])
        text(root / "SegmentationClass" / f"{key}.npy", "x")
        photo(root / "SegmentationClassVisualization" / f"{key}.jpg")


def roboflow_voc(root: Path) -> None:
    """Roboflow, 'Pascal VOC': boxes beside the images of a split."""
    for split in ("train", "valid"):
        for key in "ab":
            photo(root / split / f"{key}_jpg.rf.0{key}.jpg")
            text(root / split / f"{key}_jpg.rf.0{key}.xml", voc_xml(f"{key}_jpg.rf.0{key}.jpg"))
    text(root / "README.dataset.txt", "# streets\n")


def labelimg_voc(root: Path) -> None:
    """LabelImg: boxes beside the images, on Windows."""
    for key in "ab":
        photo(root / f"{key}.png")
        text(root / f"{key}.xml", voc_xml(f"{key}.png").replace("><", ">\r\n<"))


def roboflow_masks(root: Path) -> None:
    """Roboflow, 'Semantic Segmentation Masks': masks beside the images, what their values are in a table."""
    for split in ("train", "valid"):
        text(root / split / "_classes.csv", "Pixel Value, Class\n0, background\n1, car\n2, road\n")
        for key in "ab":
            photo(root / split / f"{key}_jpg.rf.0{key}.jpg")
            ids_png(root / split / f"{key}_jpg.rf.0{key}_mask.png", LABELS)


def mmsegmentation(root: Path) -> None:
    """mmsegmentation: img_dir and ann_dir, a suffix behind the names of labels, a list of classes beside."""
    text(root / "classes.txt", "background\ncar\nroad\n")
    for split in ("train", "val"):
        for key in "ab":
            photo(root / "img_dir" / split / f"{key}.jpg")
            ids_png(root / "ann_dir" / split / f"{key}_labelTrainIds.png", LABELS)


def plain_masks(root: Path) -> None:
    """Masks of 0 and 255, as many tools and papers have them."""
    for key in "ab":
        photo(root / "images" / f"{key}.jpg")
        ids_png(root / "masks" / f"{key}.png", np.where(LABELS == 1, 255, 0))


def table_of_masks(root: Path) -> None:
    """A table by hand: paths of Windows, names that are not alike, a split and an image without a mask."""
    text(root / "classes.txt", "background\ncar\nroad\n")
    lines = ["Image,Label,Split,note"]
    for split, keys in (("train", "ab"), ("val", "cd"), ("test", "e")):
        for key in keys:
            photo(root / "camera" / f"{key}.jpg")
            lines.append(f"camera\\{key}.jpg,{f'drawn/of_{key}.png' if split != 'test' else ''},{split},")
            ids_png(root / "drawn" / f"of_{key}.png", LABELS)
    text(root / "data.csv", "\n".join(lines) + "\n", "utf-8-sig")


def tables_of_splits(root: Path) -> None:
    """A table for each split, other tables beside."""
    text(root / "classes.txt", "background\ncar\nroad\n")
    text(root / "weather.csv", "image,weather\ncamera/a.jpg,rain\n")
    for split, keys in (("train", "ab"), ("valid", "cd")):
        rows = [f"./camera/{key}.jpg,drawn/{key}_mask.png" for key in keys]
        text(root / f"{split}.csv", "\n".join(["image,mask", *rows]) + "\n")
        for key in keys:
            photo(root / "camera" / f"{key}.jpg")
            ids_png(root / "drawn" / f"{key}_mask.png", LABELS)


def cvat_images(root: Path) -> None:
    """CVAT, 'CVAT for images 1.1' of a project: polygons, a box, a mask, layers, subsets, what has no area."""
    labels = "".join(
        f"<label><name>{name}</name><color>#fa3253</color><type>any</type><attributes></attributes></label>"
        for name in ("car", "road")
    )
    meta = f"<version>1.1</version><meta><project><id>7</id><labels>{labels}</labels></project></meta>"
    manual = 'source="manual" occluded="0"'
    images = []
    for number, (split, key) in enumerate((("train", "a"), ("train", "b"), ("validation", "c"))):
        corners = "1.00,1.00;4.00,1.00;4.00,3.00;1.00,3.00"
        car = f'<polygon label="car" {manual} points="{corners}" z_order="1"></polygon>'
        if key == "b":
            whole = 'rle="0, 6" left="1" top="1" width="3" height="2"'
            car = f'<mask label="car" {manual} {whole} z_order="1"></mask>'
        below = f'<box label="road" {manual} xtl="1.0" ytl="1.0" xbr="3.0" ybr="2.0" z_order="0"></box>'
        road = f'<box label="road" {manual} xtl="0.00" ytl="3.00" xbr="6.00" ybr="4.00" z_order="0"></box>'
        line = f'<polyline label="road" {manual} points="0.0,0.0;5.0,0.0" z_order="5"></polyline>'
        shapes = car + line + road if key != "c" else car + below + road
        size = f'width="{WIDTH}" height="{HEIGHT}"'
        images.append(f'<image id="{number}" name="{key}.jpg" subset="{split}" task_id="9" {size}>{shapes}</image>')
        photo(root / "images" / split / f"{key}.jpg")
    head = '<?xml version="1.0" encoding="utf-8"?>'
    text(root / "annotations.xml", f"{head}\n<annotations>{meta}{''.join(images)}</annotations>")


def labelme(root: Path) -> None:
    """Labelme: JSON beside the images, which it holds too; a mask, a line; one image is not labelled."""
    for key in "ab":
        photo(root / f"{key}.jpg")
        car: dict[str, Any] = {"label": "car", "points": [[1, 1], [4, 1], [4, 3], [1, 3]], "shape_type": "polygon"}
        if key == "b":
            png = io.BytesIO()
            Image.fromarray(np.ones((2, 3), bool)).save(png, "png")
            whole = base64.b64encode(png.getvalue()).decode()
            car = {"label": "car", "points": [[1.0, 1.0], [3.0, 2.0]], "shape_type": "mask", "mask": whole}
        shapes = [
            {"label": "road", "points": [[0, 3], [6, 4]], "shape_type": "rectangle"},
            car,
            {"label": "road", "points": [[0, 0], [5, 0]], "shape_type": "line"},
        ]
        more = {"group_id": None, "description": "", "flags": {}}
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": [{**shape, **more} for shape in shapes],
            "imagePath": f"..\\streets\\{key}.jpg",
            "imageData": base64.b64encode(b'"label": "no class"').decode(),
            "imageHeight": HEIGHT,
            "imageWidth": WIDTH,
        }
        text(root / f"{key}.json", json.dumps(content, indent=2))
    photo(root / "unlabelled.jpg")


def supervisely(root: Path) -> None:
    """Supervisely: a project of two data sets; polygons, a rectangle, a bitmap, a line."""
    classes = [
        {"title": title, "shape": "any", "color": "#FA3253", "geometry_config": {}, "id": number, "hotkey": ""}
        for number, title in enumerate(("car", "road"), 11)
    ]
    meta = {
        "classes": classes,
        "tags": [],
        "projectType": "images",
        "projectSettings": {"multiView": {"enabled": False}},
    }
    text(root / "meta.json", json.dumps(meta))
    png = io.BytesIO()
    inside = Image.fromarray(np.ones((2, 3), np.uint8))
    inside.putpalette([0, 0, 0, 255, 255, 255])
    inside.save(png, "png", transparency=0, optimize=0)
    data = base64.b64encode(zlib.compress(png.getvalue())).decode()
    car = {"classTitle": "car", "geometryType": "bitmap", "bitmap": {"data": data, "origin": [1, 1]}}
    corners = {"exterior": [[1, 1], [4, 1], [4, 3], [1, 3]], "interior": []}
    road = {"exterior": [[0, 3], [6, 3], [6, 4], [0, 4]], "interior": []}
    drawn = {
        "a.b": [
            {
                "classTitle": "road",
                "geometryType": "rectangle",
                "points": {"exterior": [[0, 3], [5, 3]], "interior": []},
            },
            {"classTitle": "car", "geometryType": "polygon", "points": corners},
            {"classTitle": "road", "geometryType": "line", "points": {"exterior": [[0, 0], [5, 0]], "interior": []}},
        ],
        "c": [{"classTitle": "road", "geometryType": "polygon", "points": road}, car],
    }
    for split in ("train", "val"):
        for key, objects in drawn.items():
            photo(root / split / "img" / f"{key}.jpg")
            more = {
                "description": "",
                "labelerLogin": "x",
                "createdAt": "2026-05-01T10:00:00.000Z",
                "tags": [],
                "classId": 11,
            }
            whole = {"description": "", "tags": [], "size": {"height": HEIGHT, "width": WIDTH}}
            rows = [{"id": number, **row, **more} for number, row in enumerate(objects)]
            text(root / split / "ann" / f"{key}.jpg.json", json.dumps({**whole, "objects": rows}))
