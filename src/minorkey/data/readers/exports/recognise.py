"""Which tool a folder is from: a table of forms in order, each with what tells it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from minorkey.data.readers.exports.coco import coco
from minorkey.data.readers.exports.folder import Folder, Found, Row
from minorkey.data.readers.exports.masks import masks, roboflow_masks
from minorkey.data.readers.exports.shapes import cvat, labelme, supervisely
from minorkey.data.readers.exports.table import table
from minorkey.data.readers.exports.voc import voc
from minorkey.data.readers.exports.yolo import is_data_file, yolo
from minorkey.errors import DataError
from minorkey.labels.tables import read_yaml


@dataclass(frozen=True)
class Form:
    """What tools export, and how it is told."""

    name: str
    told_by: str  # what is looked for, as errors say it
    look: Callable[[Folder], Found | None]


MASKS, TABLE = "label images", "a table of masks"

FORMS = (
    Form("COCO JSON", "_annotations.coco.json, annotations/instances_train.json or result.json", coco),
    Form("YOLO", "data.yaml with names and train, or classes.txt with images/ and labels/", yolo),
    Form("Pascal VOC", "JPEGImages with SegmentationClass or Annotations, or .xml beside images", voc),
    Form("Roboflow masks", "_classes.csv and *_mask.png in train/", roboflow_masks),
    Form("CVAT for images", "annotations.xml", cvat),
    Form("Supervisely", "meta.json and data sets with img/ and ann/", supervisely),
    Form("Labelme", ".json with shapes beside images", labelme),
    Form(TABLE, "a .csv with columns image and mask", table),
    Form(MASKS, "images/ and masks/ or labels/, img_dir/ and ann_dir/", masks),
)
"""What is looked for, in order."""


@dataclass(frozen=True)
class Recognised:
    """What a folder was taken for."""

    form: str
    why: str
    row: Row = field(repr=False)  # what a `dataset.yaml` would say


def recognise(root: Path, annotation: str, *, guessed: bool = True) -> Recognised | None:
    """What a folder without a `dataset.yaml` of ours is, for one kind of annotation; None: none of the forms.

    Args:
        root: the folder.
        annotation: pixels or boxes.
        guessed: whether label images are looked for, whose classes are as a rule not said.

    Raises:
        DataError: it is two of them, or half of one.
    """
    found = {form: one for form, one in _all(root, guessed).items() if annotation in one.rows}
    if len(found) > 1:
        told = " and ".join(f"{form} ({one.why})" for form, one in found.items())
        raise DataError(f"{root} is {told}; move one of them out, or say in dataset.yaml which is meant")
    return next((Recognised(form, one.why, one.rows[annotation]) for form, one in found.items()), None)


def recognised_kinds(root: Path) -> list[str]:
    """The kinds of annotation that a folder holds, pixels first.

    Raises:
        DataError: it is half of a form.
    """
    kinds = {kind for one in _all(root).values() for kind in one.rows}
    return [kind for kind in ("pixels", "boxes") if kind in kinds]


def is_ours(file: Path) -> bool:
    """Whether a `dataset.yaml` is there, and is not the one that YOLO may call so.

    Raises:
        ConfigError: it is no YAML.
    """
    return file.is_file() and not is_data_file(read_yaml(file))


def looked_for() -> str:
    """What the forms are told by, as errors say it."""
    return "; ".join(f"{form.name}: {form.told_by}" for form in FORMS)


def _all(root: Path, guessed: bool = True) -> dict[str, Found]:
    folder, forms = Folder(root), FORMS if guessed else [form for form in FORMS if form.name != MASKS]
    found = {form.name: one for form in forms if (one := form.look(folder)) is not None}
    if TABLE in found:
        found.pop(MASKS, None)  # which it names
    return found
