"""COCO, as CVAT, Roboflow and Label Studio export it, and as it is published."""

import json
from pathlib import Path
from typing import Any

from exported.scene import CAR, HEIGHT, WIDTH, photo, text


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
