"""The kinds of annotation that readers know, a row each: which data sets have it, and what reads them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minorkey.data.readers.boxes import BoxReader, BoxSpec, named_box_datasets
from minorkey.data.readers.categories import (
    CategoryReader,
    CategorySpec,
    bare_spec,
    named_category_datasets,
    with_columns,
)
from minorkey.data.readers.layout import Layout
from minorkey.data.readers.on_disk import DiskReader, Part
from minorkey.data.readers.paired import PairedReader
from minorkey.data.readers.spec import DatasetSpec, named_datasets
from minorkey.errors import ConfigError, DataError
from minorkey.labels.tables import parse_row, read_yaml


@dataclass(frozen=True)
class Kind:
    """What is known of one kind of annotation."""

    task: str  # the task that learns it, for messages
    named: Callable[[], Mapping[str, Sequence[Layout]]]  # the data sets that have a name
    read: Callable[[Path], Layout]  # the `dataset.yaml` in a folder
    reader: Callable[[Any, Part], DiskReader[Any]]  # of what `named` and `read` give
    hub: str | None = None  # what to do, as `hf:` reads none of it
    bare: bool = False  # whether a folder may do without a `dataset.yaml`
    drawn: bool = False  # whether its reader draws splits, by a seed, where none are published


def read_spec(folder: Path) -> DatasetSpec:
    """What the `dataset.yaml` in a folder says of its label images.

    Raises:
        DataError: there is none.
        ConfigError: it is wrong, or of boxes.
    """
    file, content = _read_yaml(folder, "the class of every id, e.g. `ids: {0: road, 255: ignore}`")
    if isinstance(content, dict) and "boxes" in content:
        raise ConfigError(f"{file} is of boxes; choose `task: detection`, or say what the `ids` of label images are")
    return parse_row(DatasetSpec, content, str(file))


def read_box_spec(folder: Path) -> BoxSpec:
    """What the `dataset.yaml` in a folder says of its boxes.

    Raises:
        DataError: there is none.
        ConfigError: it is wrong, or of label images.
    """
    missing = "how boxes are written, e.g. `boxes: coco`, or `boxes: yolo` and `classes: [car, person]`"
    file, content = _read_yaml(folder, missing)
    if isinstance(content, dict) and "boxes" not in content:
        raise ConfigError(f"{file} says nothing of boxes; write in it {missing}")
    return parse_row(BoxSpec, content, str(file))


def read_category_spec(folder: Path) -> CategorySpec:
    """What the `dataset.yaml` in a folder says of its classified images, or what the folder shows without one.

    Raises:
        DataError: it holds no classified images.
        ConfigError: its `dataset.yaml` is wrong.
    """
    file = folder / "dataset.yaml"
    return (
        with_columns(parse_row(CategorySpec, read_yaml(file), str(file)), folder)
        if file.is_file()
        else bare_spec(folder)
    )


def _read_yaml(folder: Path, missing: str) -> tuple[Path, object]:
    file = folder / "dataset.yaml"
    if not file.is_file():
        raise DataError(f"{file} is missing; write one with {missing}")
    return file, read_yaml(file)


KINDS: dict[str, Kind] = {
    "pixels": Kind("segmentation", named_datasets, read_spec, PairedReader),
    "boxes": Kind(
        "detection", named_box_datasets, read_box_spec, BoxReader, hub="save them as COCO JSON, and give that folder"
    ),
    "category": Kind(
        "classification", named_category_datasets, read_category_spec, CategoryReader, bare=True, drawn=True
    ),
}


def kind_of(annotation: str) -> Kind:
    """The row of a kind.

    Raises:
        ConfigError: no reader of this package knows it.
    """
    if annotation not in KINDS:
        raise ConfigError(f"no data set has {annotation}; name a reader of your own, package.module:attribute")
    return KINDS[annotation]
