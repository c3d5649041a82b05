"""Supervisely: a JSON file for each image, a list of objects with their class and what is drawn of them."""

import base64
import binascii
import zlib
from typing import Any

import numpy as np

from minorkey.data.images import opened_image
from minorkey.data.readers.shapes.shape import Mask, Shape, outline_of, rectangle
from minorkey.data.readers.values import json_with, number, side
from minorkey.errors import DataError
from minorkey.system.reading import reading

WITHOUT_AREA = frozenset({"point", "line", "polyline", "graph"})

LARGEST = 2**28
"""Bytes that a bitmap may have when it is unpacked: what is packed in a few may be endless."""


def read_supervisely(content: bytes, file: str) -> tuple[list[Shape], tuple[int, int]]:
    """The shapes of an image, later ones over earlier ones, and its (width, height), 0 where it is not said.

    Args:
        content: JSON with `objects`, each a `classTitle`, a `geometryType` and `points` or a `bitmap`: polygon with
            holes, rectangle, whose last row and column are of it, or bitmap; points and lines cover nothing.
        file: named in errors.

    Raises:
        DataError: the JSON is broken, or an object lacks a field.
    """
    with reading(file, "mend or replace the file"):
        document = json_with(content, file, "objects", "Supervisely")
        said = document.get("size")
        sides = said if isinstance(said, dict) else {}
        size = side(sides.get("width"), "width", file), side(sides.get("height"), "height", file)
        found = (_shape(row, place, f"{file}: object {place}") for place, row in enumerate(document["objects"], 1))
        return [shape for shape in found if shape is not None], size


def _shape(row: Any, place: int, where: str) -> Shape | None:
    if not isinstance(row, dict) or not isinstance(row.get("classTitle"), str):
        raise DataError(f"{where} has no `classTitle`; mend or remove it")
    kind, name = row.get("geometryType") or ("bitmap" if row.get("bitmap") else "polygon"), row["classTitle"].strip()
    if kind in WITHOUT_AREA:
        return None
    if kind == "bitmap":
        return Shape(place, name, mask=_mask(row.get("bitmap"), where))
    points = row.get("points")
    if kind not in ("polygon", "rectangle") or not isinstance(points, dict) or not points.get("exterior"):
        raise DataError(
            f"{where} is a '{kind}'; expected a polygon, rectangle or bitmap with its points; mend or remove it"
        )
    outer = _corners(points["exterior"], where)
    if kind == "rectangle":
        if outer.shape != (2, 2):
            raise DataError(f"{where}: a rectangle has points {outer.shape}, expected two; mend or remove it")
        return Shape(place, name, [rectangle(*outer.min(0), *(outer.max(0) + 1))])
    holes = [_corners(hole, where) for hole in points.get("interior") or ()]
    return Shape(place, name, [outline_of(_with_holes(outer, holes).ravel().tolist(), where)])


def _corners(points: Any, where: str) -> np.ndarray:
    return np.array([[number(value, "a point", where) for value in point] for point in points], np.float64)


def _with_holes(outer: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """One outline (n, 2) that also goes round the holes: the ways there and back cancel."""
    start = outer[:1]
    return np.concatenate([outer, *(part for hole in holes for part in (start, hole, hole[:1]))])


def _mask(bitmap: Any, where: str) -> Mask:
    """An image as base64 of zlib, opaque or other than 0 where the object is, and its corner."""
    try:
        unpack = zlib.decompressobj()
        content = unpack.decompress(base64.b64decode(bitmap["data"], validate=True), LARGEST)
        left, top = (int(number(value, "origin", where)) for value in bitmap["origin"])
    except (TypeError, KeyError, ValueError, zlib.error, binascii.Error) as error:
        raise DataError(
            f"{where}: its bitmap has no `data` and `origin` as Supervisely writes them; mend it"
        ) from error
    if unpack.unconsumed_tail:
        raise DataError(f"{where}: its bitmap is larger than {LARGEST} bytes; mend or remove it")
    with opened_image(where, content) as image:
        opaque = image.convert("RGBA").getchannel("A") if "transparency" in image.info or "A" in image.mode else image
        return Mask(np.asarray(opaque.convert("L") if opaque.mode not in ("L", "P") else opaque) != 0, left, top)
