"""The kinds of annotation that readers know, a row each: which data sets have it, and what reads them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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
from minorkey.data.readers.exports import is_ours, looked_for, recognise, recognised_kinds
from minorkey.data.readers.exports.folder import Row
from minorkey.data.readers.layout import Layout
from minorkey.data.readers.on_disk import DiskReader, Part
from minorkey.data.readers.paired import PairedReader
from minorkey.data.readers.shapes.reader import DrawnReader
from minorkey.data.readers.spec import DRAWN, DatasetSpec, named_datasets
from minorkey.errors import ConfigError, DataError, MinorkeyError
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
    """What the `dataset.yaml` in a folder says of its label images, or what it is as the export of a tool.

    Raises:
        DataError: there is none, and it is no export that is known.
        ConfigError: it is wrong, or of boxes.
    """
    missing = "the class of every id, e.g. `ids: {0: road, 255: ignore}`"
    if not is_ours(folder / "dataset.yaml"):
        return parse_row(DatasetSpec, _recognised(folder, "pixels", missing), str(folder))
    file, content = _read_yaml(folder)
    if isinstance(content, dict) and "boxes" in content:
        raise ConfigError(f"{file} is of boxes; choose `task: detection`, or say what the `ids` of label images are")
    return parse_row(DatasetSpec, content, str(file))


def read_box_spec(folder: Path) -> BoxSpec:
    """What the `dataset.yaml` in a folder says of its boxes, or what it is as the export of a tool.

    Raises:
        DataError: there is none, and it is no export that is known.
        ConfigError: it is wrong, or of label images.
    """
    missing = "how boxes are written, e.g. `boxes: coco`, or `boxes: yolo` and `classes: [car, person]`"
    if not is_ours(folder / "dataset.yaml"):
        return parse_row(BoxSpec, _recognised(folder, "boxes", missing), str(folder))
    file, content = _read_yaml(folder)
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


def is_export(folder: Path, annotation: str) -> bool:
    """Whether a folder without a `dataset.yaml` is the export of a tool with annotations of this kind."""
    with suppress(MinorkeyError):  # of two tools, or half of one: as the name of a folder of images, that is no matter
        return annotation in recognised_kinds(folder)
    return False


def _recognised(folder: Path, annotation: str, missing: str) -> Row:
    """What a folder is as the export of a tool.

    Raises:
        ConfigError: it is one with annotations of another kind.
        DataError: it is none, two or half of one.
    """
    found = recognise(folder, annotation)
    if found is not None:
        return found.row
    if others := recognised_kinds(folder):
        task = KINDS[others[0]].task
        raise ConfigError(f"{folder} has {others[0]}, and no {annotation}; set task={task}")
    raise DataError(
        f"{folder / 'dataset.yaml'} is missing; write one with {missing} (nor is the folder as a tool exports it; "
        f"looked for {looked_for()})"
    )


def _read_yaml(folder: Path) -> tuple[Path, object]:
    file = folder / "dataset.yaml"
    return file, read_yaml(file)


def pixel_reader(spec: DatasetSpec, part: Part) -> PairedReader:
    """The reader of label images, or of shapes that are drawn.

    Raises:
        MinorkeyError: as theirs.
    """
    return (DrawnReader if spec.encoding in DRAWN else PairedReader)(spec, part)


KINDS: dict[str, Kind] = {
    "pixels": Kind("segmentation", named_datasets, read_spec, pixel_reader),
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
