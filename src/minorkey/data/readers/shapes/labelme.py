"""Labelme: a JSON file for each image, a list of shapes with their class and corners."""

import base64
import binascii
from typing import Any

import numpy as np

from minorkey.data.label_images import read_ids
from minorkey.data.readers.shapes.shape import Mask, Shape, ellipse, outline_of, rectangle
from minorkey.data.readers.values import json_with, number, side
from minorkey.errors import DataError
from minorkey.system.reading import reading

WITHOUT_AREA = frozenset({"point", "points", "line", "linestrip"})


def read_labelme(content: bytes, file: str) -> tuple[list[Shape], tuple[int, int]]:
    """The shapes of an image, later ones over earlier ones, and its (width, height), 0 where it is not said.

    Args:
        content: JSON with `shapes`, each a `label`, a `shape_type` and `points`: polygon, rectangle, circle or mask;
            points and lines cover nothing.
        file: named in errors.

    Raises:
        DataError: the JSON is broken, or a shape lacks a field.
    """
    with reading(file, "mend or replace the file"):
        document = json_with(content, file, "shapes", "Labelme")
        size = (
            side(document.get("imageWidth"), "imageWidth", file),
            side(document.get("imageHeight"), "imageHeight", file),
        )
        found = (_shape(row, place, f"{file}: shape {place}") for place, row in enumerate(document["shapes"], 1))
        return [shape for shape in found if shape is not None], size


def _shape(row: Any, place: int, where: str) -> Shape | None:
    if not isinstance(row, dict) or not isinstance(row.get("label"), str) or not isinstance(row.get("points"), list):
        raise DataError(f"{where} has no `label` or no `points`; mend or remove it")
    kind, name = row.get("shape_type") or "polygon", row["label"].strip()
    if kind in WITHOUT_AREA:
        return None
    points = np.array([[number(value, "a point", where) for value in point] for point in row["points"]], np.float64)
    if kind in ("rectangle", "circle", "mask") and points.shape != (2, 2):
        raise DataError(f"{where}: a {kind} has points {points.shape}, expected two; mend or remove it")
    if kind == "mask":
        return Shape(place, name, mask=_mask(row.get("mask"), points, where))
    if kind == "rectangle":
        return Shape(place, name, [rectangle(*points[0], *points[1])])
    if kind == "circle":
        (x, y), radius = points[0].tolist(), float(np.hypot(*(points[1] - points[0])))
        return Shape(place, name, [ellipse(x, y, radius, radius)])
    if kind not in ("polygon", "oriented_rectangle"):
        raise DataError(f"{where} is a '{kind}'; expected a polygon, rectangle, circle or mask; mend or remove it")
    return Shape(place, name, [outline_of(points.ravel().tolist(), where)])


def _mask(text: Any, points: np.ndarray, where: str) -> Mask:
    """A PNG as text, whose corner is the first point."""
    try:
        content = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise DataError(f"{where}: its mask is no PNG as base64; mend or remove it") from error
    left, top = points[0].round().astype(int).tolist()
    return Mask(read_ids(where, content) != 0, left, top)
