"""Pascal VOC, as CVAT, Labelme, Roboflow and LabelImg export it, and as it is published."""

from pathlib import Path

import numpy as np

from exported.scene import BOXES, COLOURS, HEIGHT, LABELS, WIDTH, ids_png, painted_png, photo, text


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
