"""COCO: the polygons and masks in the JSON file of a split."""

import json
from typing import Any

import numpy as np

from minorkey.data.readers.coco_document import CocoDocument
from minorkey.data.readers.shapes.rle import coco_mask
from minorkey.data.readers.shapes.shape import Mask, Shape, area, outline_of
from minorkey.data.readers.shapes.table import ShapeTable
from minorkey.data.readers.values import flag
from minorkey.errors import DataError
from minorkey.system.reading import json_of


def read_coco_shapes(content: bytes, file: str) -> ShapeTable:
    """The shapes of a split: smaller ones cover larger ones, several outlines of one object are added up.

    Args:
        content: of the file.
        file: named in errors.

    Raises:
        DataError: the JSON is broken, lacks a part, or an annotation refers to what is not there.
    """
    document = CocoDocument.of(content, file)
    found: list[list[list[Any]]] = [[] for _ in document.images]
    bare = 0
    for position, row in enumerate(document.annotations):
        place, numbered, name = document.refers_to(row, position)
        if row.get("segmentation"):
            found[place].append([numbered, name, row["segmentation"], row.get("iscrowd")])
        else:
            bare += 1
    notes = [f"{file}: {bare} annotations have no outline: they are left out, as background"] if bare else []
    rows = [json.dumps(those).encode() for those in found]
    return ShapeTable(file, document.images, document.sizes, rows, _shapes, document.classes, notes=notes)


def _shapes(text: bytes, image: str, size: tuple[int, int]) -> list[Shape]:
    return [_shape(row, f"{image}: annotation {row[0]}", size) for row in json_of(text, finite=False)]


def _shape(row: list[Any], where: str, size: tuple[int, int]) -> Shape:
    numbered, name, drawn, iscrowd = row
    crowd = flag(iscrowd, "iscrowd", where)
    if isinstance(drawn, dict):
        mask = coco_mask(drawn, size[::-1], where)
        return Shape(numbered, name, mask=Mask(mask), level=-float(np.count_nonzero(mask)), crowd=crowd)
    if not isinstance(drawn, list) or not all(isinstance(outline, list) for outline in drawn):
        raise DataError(
            f"{where}: segmentation is neither a list of outlines [x, y, ...] nor a mask; mend or remove it"
        )
    outlines = [outline_of(outline, where) for outline in drawn]
    return Shape(numbered, name, outlines, level=-sum(map(area, outlines)), crowd=crowd)
