"""Tiny data sets of boxes in the exact layout, names and ids of the published ones: one per row and form of the table.

Images are 8 x 6 pixels. What is expected of their boxes is written out by hand, as (class, x0 y0 x1 y1, crowd).
"""

import json
from dataclasses import dataclass, field
from typing import Any

from published import FRANKFURT, picture

SIZE = (6, 8)
CORNERS = ("xmin", "ymin", "xmax", "ymax")
Box = tuple[str, tuple[float, float, float, float], bool]


@dataclass(frozen=True)
class PublishedBoxes:
    """A split of a data set as its makers publish it."""

    split: str
    files: dict[str, bytes]
    boxes: dict[tuple[str, str], list[Box]]  # (domain, key) -> boxes
    space: str = "cityscapes8"
    domains: int = 1
    notes: tuple[str, ...] = field(default=())  # ends of what is said of it


def jpg() -> bytes:
    return picture("jpg", SIZE)


def png() -> bytes:
    return picture("png", SIZE)


def coco(images: dict[int, str], categories: dict[int, str], annotations: list[dict[str, Any]]) -> bytes:
    """A file in COCO's form; of an annotation only what is not usual needs to be said."""
    return json.dumps(
        {
            "info": {"year": 2017},
            "images": [
                {"id": number, "file_name": name, "width": SIZE[1], "height": SIZE[0], "license": 1}
                for number, name in images.items()
            ],
            "categories": [{"id": number, "name": name, "supercategory": ""} for number, name in categories.items()],
            "annotations": [{"id": i + 1, "iscrowd": 0, "area": 1.0, **row} for i, row in enumerate(annotations)],
        }
    ).encode()


def voc(*objects: tuple[str, tuple[int, int, int, int], int]) -> bytes:
    """An annotation file of VOC: (name, xmin ymin xmax ymax, difficult)."""
    nodes = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>{difficult}</difficult>"
        "<bndbox>"
        + "".join(f"<{field}>{value}</{field}>" for field, value in zip(CORNERS, box, strict=True))
        + "</bndbox></object>"
        for name, box, difficult in objects
    )
    size = "<size><width>8</width><height>6</height><depth>3</depth></size>"
    return f"<annotation><folder>VOC2007</folder>{size}{nodes}</annotation>".encode()


def bdd(*frames: tuple[str, list[dict[str, Any]] | None]) -> bytes:
    return json.dumps(
        [
            {"name": name, "attributes": {"weather": "clear"}, "timestamp": 10000, "labels": labels}
            for name, labels in frames
        ]
    ).encode()


def box2d(category: str, corners: tuple[float, float, float, float], **attributes: Any) -> dict[str, Any]:
    return {
        "id": "0",
        "category": category,
        "attributes": {"occluded": False, **attributes},
        "box2d": dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True)),
    }


def kitti(*lines: tuple[str, tuple[float, float, float, float]]) -> bytes:
    numbers = "1.41 1.58 4.36 3.18 2.27 34.38 -1.58"
    return "".join(
        f"{name} 0.00 0 -1.67 {' '.join(f'{v:.2f}' for v in box)} {numbers}\n" for name, box in lines
    ).encode()


def rectangle(label: str, x0: int, y0: int, x1: int, y1: int, **more: Any) -> dict[str, Any]:
    """A polygon around the pixels from x0 y0 to x1 y1, both of them in it."""
    return {"label": label, "polygon": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], **more}


STREET = json.dumps(
    {
        "imgHeight": 6,
        "imgWidth": 8,
        "objects": [
            rectangle("road", 0, 0, 7, 5),
            rectangle("car", 0, 1, 4, 4),
            rectangle("cargroup", 6, 0, 7, 1),
            rectangle("bus", 1, 1, 1, 1),  # wholly behind the person
            rectangle("person", 1, 1, 2, 5),
            rectangle("pole", 4, 0, 5, 5),  # before the right end of the car
            rectangle("rider", 0, 0, 7, 5, deleted=1),
            rectangle("caravan", 6, 3, 7, 5),
        ],
    }
).encode()
STREET_BOXES: list[Box] = [
    ("car", (0, 1, 4, 5), False),
    ("car", (6, 0, 8, 2), True),
    ("person", (1, 1, 3, 6), False),
]
POLYGONS = f"gtFine/val/{FRANKFURT}_gtFine_polygons.json"

VOC_FILES = {
    "JPEGImages/000001.jpg": jpg(),
    "JPEGImages/000002.jpg": jpg(),
    "JPEGImages/000003.jpg": jpg(),
    "Annotations/000001.xml": voc(("motorbike", (1, 1, 3, 6), 0), ("dog", (2, 2, 3, 3), 0), ("car", (4, 2, 8, 4), 1)),
    "Annotations/000002.xml": voc(),
    "Annotations/000003.xml": voc(("person", (1, 1, 2, 2), 0)),
    "ImageSets/Main/val.txt": b"000001\n000002\n",
    "ImageSets/Main/train.txt": b"000003\n",
    "ImageSets/Main/car_val.txt": b"000001 -1\n000002 -1\n",
}
VOC_BOXES: list[Box] = [("motorcycle", (0, 0, 3, 6), False), ("car", (3, 1, 8, 4), True)]

COCO_FILE = coco(
    {397133: "000000397133.jpg", 37777: "000000037777.jpg", 252219: "000000252219.jpg"},
    {1: "person", 3: "car", 10: "traffic light", 44: "bottle", 90: "toothbrush"},
    [
        {"image_id": 397133, "category_id": 3, "bbox": [1.25, 2, 3.5, 1]},
        {"image_id": 37777, "category_id": 1, "bbox": [0, 0, 8, 6], "iscrowd": 1},
        {"image_id": 397133, "category_id": 44, "bbox": [0, 0, 1, 1]},
        {"image_id": 397133, "category_id": 1, "bbox": [5, 5, 2, 0]},
        {"image_id": 397133, "category_id": 1, "bbox": [7.5, 5, 0.75, 2]},
    ],
)

KEY = "0a0a0b1a-7c39d841"
BDD_FRAMES = bdd(
    (f"{KEY}.jpg", [
        box2d("motorcycle", (1, 1, 2.5, 3)),
        box2d("pedestrian", (0, 0, 3, 5), crowd=True),
        box2d("traffic light", (0, 0, 3, 5)),
        box2d("other vehicle", (4, 1, 7, 5)),
        {"id": "7", "category": "lane/single white", "poly2d": [{"vertices": [[0, 0]]}]},
    ]),
    ("b1c66a42-6f7d68ca.jpg", None),
)  # fmt: skip
BDD_BOXES: dict[tuple[str, str], list[Box]] = {
    ("bdd100k", KEY): [
        ("motorcycle", (1, 1, 3.5, 4), False),
        ("person", (0, 0, 4, 6), True),
        ("car", (4, 1, 8, 6), True),
    ],
    ("bdd100k", "b1c66a42-6f7d68ca"): [],
}
BDD_IMAGES = {
    f"images/100k/val/{KEY}.jpg": jpg(),
    "images/100k/val/b1c66a42-6f7d68ca.jpg": jpg(),
    "images/100k/val/unlisted.jpg": jpg(),
    "images/100k/train/a.jpg": jpg(),
}


def _diverse_weather(folders: dict[str, str]) -> PublishedBoxes:
    names = ("bus", "bike", "car", "motor", "person")
    files, boxes = {}, {}
    for place, (domain, folder) in enumerate(folders.items()):
        root, key = f"{folder}/VOC2007", f"{place}a0a0b1a-7c39d841"
        files[f"{root}/JPEGImages/{key}.jpg"] = jpg()
        files[f"{root}/JPEGImages/other.jpg"] = jpg()
        files[f"{root}/Annotations/{key}.xml"] = voc((names[place], (0, 1, 4, 5), 0), ("Rider", (3, 3, 9, 6), 0))
        files[f"{root}/Annotations/other.xml"] = voc()
        files[f"{root}/ImageSets/Main/test.txt"] = f"{key}\n".encode()
        files[f"{root}/ImageSets/Main/train.txt"] = b"other\n"
        name: Box = (names[place], (0, 0, 4, 5), False)
        boxes["diverse_weather-" + domain, key] = [name, ("rider", (2, 2, 8, 6), False)]
    return PublishedBoxes("test", files, boxes, "weather7", domains=5)


WEATHER = ("daytime_clear", "night_sunny", "dusk_rainy", "night_rainy", "daytime_foggy")

PUBLISHED_BOXES: dict[str, list[PublishedBoxes]] = {
    "coco": [
        PublishedBoxes(
            "val",
            {
                "val2017/000000397133.jpg": jpg(),
                "val2017/000000037777.jpg": jpg(),
                "val2017/000000252219.jpg": jpg(),
                "train2017/000000000009.jpg": jpg(),
                "annotations/instances_val2017.json": COCO_FILE,
                "annotations/instances_train2017.json": b"{}",
                "annotations/captions_val2017.json": b"{}",
            },
            {
                ("coco", "000000397133"): [("car", (1.25, 2, 4.75, 3), False), ("person", (7.5, 5, 8, 6), False)],
                ("coco", "000000037777"): [("person", (0, 0, 8, 6), True)],
                ("coco", "000000252219"): [],
            },
            notes=("instances_val2017.json: 1 boxes without area are left out",),
        )
    ],
    "voc2007": [
        PublishedBoxes(
            "val",
            {f"VOC2007/{name}": content for name, content in VOC_FILES.items()},
            {("voc2007", "000001"): VOC_BOXES, ("voc2007", "000002"): []},
        )
    ],
    "voc2012": [
        PublishedBoxes(
            "val",
            {f"VOC2012/{name}": content for name, content in VOC_FILES.items()},
            {("voc2012", "000001"): VOC_BOXES, ("voc2012", "000002"): []},
        )
    ],
    "diverse_weather": [
        _diverse_weather({**{name: name for name in WEATHER}, "night_sunny": "Night-Sunny"}),
        _diverse_weather({name: name for name in WEATHER}),
    ],
    "cityscapes": [
        PublishedBoxes(
            "val",
            {f"leftImg8bit/val/{FRANKFURT}_leftImg8bit.png": png(), POLYGONS: STREET},
            {("cityscapes", FRANKFURT): STREET_BOXES},
        )
    ],
    "foggy-cityscapes": [
        PublishedBoxes(
            "val",
            {
                f"leftImg8bit_foggy/val/{FRANKFURT}_leftImg8bit_foggy_beta_0.02.png": png(),
                f"leftImg8bit_foggy/val/{FRANKFURT}_leftImg8bit_foggy_beta_0.01.png": png(),
                POLYGONS: STREET,
            },
            {("foggy-cityscapes", FRANKFURT): STREET_BOXES},
        )
    ],
    "bdd100k": [
        PublishedBoxes(
            "val",
            BDD_IMAGES | {"labels/det_20/det_val.json": BDD_FRAMES, "labels/det_20/det_train.json": bdd()},
            BDD_BOXES,
            notes=("image 'unlisted' of split 'val' is left out: ",),
        ),
        PublishedBoxes(
            "val",
            BDD_IMAGES | {"labels/det_v2_val_release.json": BDD_FRAMES},
            BDD_BOXES,
            notes=("image 'unlisted' of split 'val' is left out: ",),
        ),
        PublishedBoxes(
            "val",
            BDD_IMAGES
            | {
                "labels/bdd100k_labels_images_val.json": bdd(
                    (f"{KEY}.jpg", [box2d("motor", (1, 1, 2, 2)), box2d("person", (0, 0, 0, 0))])
                )
            },
            {("bdd100k", KEY): [("motorcycle", (1, 1, 3, 3), False), ("person", (0, 0, 1, 1), False)]},
            notes=("image 'b1c66a42-6f7d68ca' and 1 more of split 'val' is left out: ",),
        ),
    ],
    "kitti-object": [
        PublishedBoxes(
            "train",
            {
                "training/image_2/000000.png": png(),
                "training/image_2/000001.png": png(),
                "testing/image_2/000000.png": png(),
                "training/label_2/000000.txt": kitti(
                    ("Truck", (0, 0, 8, 6)),
                    ("Car", (1, 1, 3.5, 4)),
                    ("Van", (0, 0, 2, 2)),
                    ("Cyclist", (5, 1, 7, 5)),
                    ("DontCare", (6, 0, 7.5, 2)),
                ),
                "training/label_2/000001.txt": kitti(("Pedestrian", (1, 1, 2, 2)), ("Misc", (0, 0, 1, 1))),
            },
            {
                ("kitti-object", "000000"): [
                    ("car", (1, 1, 3.5, 4), False),
                    ("car", (0, 0, 2, 2), True),
                    ("cyclist", (5, 1, 7, 5), False),
                    *((name, (6, 0, 7.5, 2), True) for name in ("car", "pedestrian", "cyclist")),
                ],
                ("kitti-object", "000001"): [("pedestrian", (1, 1, 2, 2), False)],
            },
            space="kitti3",
        )
    ],
    "carla-det": [
        PublishedBoxes(
            "val",
            {
                "images/val/Town01_001140.jpg": jpg(),
                "images/val/Town01_002040.jpg": jpg(),
                "annotations/val.json": coco(
                    {1: "Town01_001140.jpg", 2: "Town01_002040.jpg"},
                    {1: "vehicle", 2: "bike", 3: "motobike", 4: "traffic_light", 5: "traffic_sign"},
                    [
                        {"image_id": 2, "category_id": number, "bbox": [number, 1.0, 2.0, 2.0]}
                        for number in (1, 2, 3, 4, 5)
                    ],
                ),
            },
            {
                ("carla-det", "Town01_001140"): [],
                ("carla-det", "Town01_002040"): [
                    ("vehicle", (1, 1, 3, 3), False),
                    ("bike", (2, 1, 4, 3), False),
                    ("motorcycle", (3, 1, 5, 3), False),
                    ("traffic light", (4, 1, 6, 3), False),
                    ("traffic sign", (5, 1, 7, 3), False),
                ],
            },
            space="carla5",
        )
    ],
}
