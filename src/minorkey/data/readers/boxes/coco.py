"""COCO: a JSON file for a split, with its images, its categories by name, and its annotations."""

from collections import Counter
from typing import Any

from minorkey.data.readers.boxes.objects import Annotation
from minorkey.data.readers.boxes.table import SplitTable
from minorkey.data.readers.coco_document import CocoDocument, field_of
from minorkey.data.readers.values import flag, number
from minorkey.errors import DataError


def read_coco(content: bytes, file: str) -> SplitTable:
    """The boxes of a split, whose `bbox` is x y width height in pixels from 0; `iscrowd` is kept.

    Args:
        content: of the file.
        file: named in errors.

    Raises:
        DataError: the JSON is broken, lacks a part, or an annotation lacks a field or refers to what is not there.
    """
    document = CocoDocument.of(content, file)
    found: list[list[Annotation]] = [[] for _ in document.images]
    for position, row in enumerate(document.annotations):
        place, numbered, name = document.refers_to(row, position)
        found[place].append(_annotation(row, numbered, name, f"{file}: annotation {numbered}"))
    notes = _repeated(found, document.annotations, file)
    return SplitTable.of(file, document.images, document.sizes, document.classes, found, notes)


def _repeated(found: list[list[Annotation]], rows: list[Any], file: str) -> list[str]:
    """A line where annotations share an id; the same one twice is an error."""
    numbers = [one.number for those in found for one in those]
    if len(set(numbers)) == len(numbers):
        return []
    for those in found:
        if twice := [one for one, count in Counter(those).items() if count > 1]:
            raise DataError(f"{file}: annotation {twice[0].number} is listed twice; remove one")
    ids = [row["id"] for row in rows if row.get("id") is not None]
    shared = len(ids) - len(set(map(str, ids)))
    return [f"{file}: {shared} of {len(ids)} annotations have the id of another"] if shared else []


def _annotation(row: Any, numbered: int, name: str, where: str) -> Annotation:
    bbox = field_of(row, "bbox", where)
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise DataError(f"{where}: bbox is {bbox!r}, expected [x, y, width, height]; mend or remove it")
    x, y, width, height = (number(value, "bbox", where) for value in bbox)
    crowd = flag(row.get("iscrowd"), "iscrowd", where)
    return Annotation(numbered, name, (x, y, x + width, y + height), crowd)
