"""What is said of a data set of boxes: a row of the shipped table, or the `dataset.yaml` of a user."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from minorkey.data.readers.layout import Layout
from minorkey.data.readers.pattern import wrong_fields
from minorkey.labels.tables import Numbered, one_target, read_forms

TABLE_FILE = Path(__file__).with_name("datasets.yaml")

Form = Literal["coco", "bdd100k", "voc", "yolo", "yolo_pose", "kitti", "polygons", "cvat", "labelme", "supervisely"]
"""How boxes are written: one file per split (COCO, BDD100K, CVAT), or one per image (Pascal VOC, YOLO, KITTI, Labelme,
Supervisely, and polygons as Cityscapes has them)."""

PER_SPLIT = ("coco", "bdd100k", "cvat")
SELF_NAMED = ("coco", "cvat")
"""Those whose files name the classes."""

USUAL_FILES: dict[str, dict[str, str]] = {
    "coco": {"annotations": "annotations/{split}.json"},
    "bdd100k": {"images": "images/100k/{split}/{key}.jpg", "annotations": "labels/det_20/det_{split}.json"},
    "voc": {
        "images": "JPEGImages/{key}.*",
        "annotations": "Annotations/{key}.xml",
        "lists": "ImageSets/Main/{split}.txt",
    },
    "yolo": {"annotations": "labels/{split}/{key}.txt"},
    "yolo_pose": {"annotations": "labels/{split}/{key}.txt"},
    "kitti": {"images": "{split}/image_2/{key}.*", "annotations": "{split}/label_2/{key}.txt"},
    "cvat": {"images": "images/{key}.*", "annotations": "annotations.xml"},
    "labelme": {"images": "{key}.*", "annotations": "{key}.json"},
    "supervisely": {"images": "{split}/img/{key}", "annotations": "{split}/ann/{key}.json"},
    "polygons": {
        "images": "leftImg8bit/{split}/{key}_leftImg8bit.png",
        "annotations": "gtFine/{split}/{key}_gtFine_polygons.json",
    },
}
"""Patterns that need not be said: those each way is known by."""

ANY_CLASS = "any"
"""In `crowds`: of whichever class."""


class BoxSpec(Layout):
    """A data set of boxes: how its files are named, what its splits are, and what its classes are called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    boxes: Form
    annotations: str  # pattern of the file of a split, or of the files of its images
    lists: str | None = None  # pattern of the list of the keys of a split; `all` is the split of all images
    classes: Numbered = Field(default={})  # id -> name; where files hold names, the names; COCO's say their own
    read_as: dict[str, list[str]] = Field(default={})  # class or `ignore` -> those read as it if not known
    crowds: dict[str, list[str]] = Field(default={})  # class or `any` -> those that are crowds of it if not known
    ignores: list[str] = Field(default=[])  # class names whose boxes are left out
    drop_empty: bool = False  # whether boxes without area, which the published files have, are left out

    @model_validator(mode="before")
    @classmethod
    def _usual_files(cls, row: Any) -> Any:
        form = row.get("boxes") if isinstance(row, dict) else None
        return {**USUAL_FILES.get(form, {}), **row} if isinstance(form, str) else row

    @field_validator("read_as")
    @classmethod
    def _one_target(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        return one_target(value)

    @model_validator(mode="after")
    def _sound(self) -> "BoxSpec":
        per_split = self.boxes in PER_SPLIT
        if wrong := wrong_fields(self.annotations, [] if per_split else ["key"]):
            raise ValueError(wrong)
        if per_split and "{key}" in self.annotations:
            raise ValueError(f"'{self.annotations}' has a field {{key}}, but `{self.boxes}` is one file for a split")
        if self.lists and (wrong := wrong_fields(self.lists, ["split"])):
            raise ValueError(wrong)
        if bool(self.classes) == (self.boxes in SELF_NAMED):
            needed = "says its classes itself; remove" if self.classes else "needs the names of its classes under"
            raise ValueError(f"`boxes: {self.boxes}` {needed} `classes`")
        return self

    @property
    def beside(self) -> str | None:
        """The pattern of its lists, where it has any, else of its annotations."""
        return self.lists or self.annotations

    @property
    def names(self) -> list[str]:
        """The names of the classes, those included of which it is only said what they are read as."""
        others = [name for table in (self.read_as, self.crowds) for names in table.values() for name in names]
        return list(dict.fromkeys([*self.classes.values(), *others, *self.ignores]))


@cache
def named_box_datasets() -> dict[str, tuple[BoxSpec, ...]]:
    """The data sets of boxes that are known by name; several specs are forms it is found in, tried in order."""
    return read_forms(BoxSpec, TABLE_FILE)
