"""All exports of the scene, with what they are read as."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import exported
from minorkey.data.readers import open_datasets
from minorkey.labels import label_space

SPACE = label_space("background, car, road")
CLASSES = label_space("car, road")


class Case(NamedTuple):
    write: Callable[[Path], None]
    form: str
    splits: str  # those that there are
    images: int  # of each of them, the first
    kinds: str = "pixels boxes"


CASES = [
    Case(exported.cvat_coco, "COCO JSON", "train val", 2),
    Case(exported.roboflow_coco, "COCO JSON", "train val test", 2),
    Case(exported.label_studio_coco, "COCO JSON", "all", 2),
    Case(exported.published_coco, "COCO JSON", "train val", 2),
    Case(exported.ultralytics_seg, "YOLO", "train val", 2),
    Case(exported.ultralytics_pose, "YOLO", "train val", 2, "boxes"),
    Case(exported.roboflow_yolo, "YOLO", "train val test", 2, "boxes"),
    Case(exported.cvat_yolo, "YOLO", "train val", 2),
    Case(exported.cvat_yolo_1_1, "YOLO", "train val", 2, "boxes"),
    Case(exported.label_studio_yolo, "YOLO", "all", 2, "boxes"),
    Case(exported.cvat_voc, "Pascal VOC", "train val", 2, "pixels"),
    Case(exported.labelme_voc, "Pascal VOC", "all", 2, "pixels"),
    Case(exported.roboflow_voc, "Pascal VOC", "train val", 2, "boxes"),
    Case(exported.labelimg_voc, "Pascal VOC", "all", 2, "boxes"),
    Case(exported.roboflow_masks, "Roboflow masks", "train val", 2, "pixels"),
    Case(exported.mmsegmentation, "label images", "train val", 2, "pixels"),
    Case(exported.tables_of_splits, "a table of masks", "train val", 2, "pixels"),
    Case(exported.cvat_images, "CVAT for images", "train val", 2),
    Case(exported.labelme, "Labelme", "all", 2),
    Case(exported.supervisely, "Supervisely", "train val", 2),
]


def opened(root: Path, split: str, annotation: str = "pixels"):
    space = SPACE if annotation == "pixels" else CLASSES
    return open_datasets(f"{root}:{split}", role="unseen", label_space=space, annotation=annotation)[0]


def broken(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    path.write_text(path.read_text().replace(old, new))
