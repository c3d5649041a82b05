"""YOLO: outlines in the text file of an image, `class x y x y ...` in a line, as parts of the image."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minorkey.data.readers.shapes.shape import Shape, area, outline_of, rectangle
from minorkey.data.readers.text import text_lines
from minorkey.data.readers.values import number, whole
from minorkey.errors import DataError, unknown

BOX_FIELDS = ("x", "y", "width", "height")
BOX = 1 + len(BOX_FIELDS)
"""Fields of a line that is a box: its class, middle, width and height."""


class YoloLine(NamedTuple):
    """A line of an annotation file."""

    place: int  # in the file, from 1
    name: str  # its class
    where: str  # it is, as errors name it
    points: np.ndarray  # (n, 2) float64 in pixels: corners of an outline, or the middle and the sides of a box

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """x0 y0 x1 y1 in pixels, as the line has them; None where it has an outline."""
        if len(self.points) != 2:
            return None
        (x, y), (width, height) = self.points.tolist()
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def yolo_lines(
    content: bytes, file: str, classes: dict[int, str], size: tuple[int, int], *, fields: int | None = None
) -> Iterator[YoloLine]:
    """The lines of an annotation file.

    Args:
        content: lines of a class id and the corners of an outline, or the middle and the sides of a box, from 0 to 1.
        file: named in errors.
        classes: id -> name.
        size: (width, height) of the image in pixels.
        fields: how many of a line are looked at; None: all of them.

    Raises:
        DataError: a line has other fields, or an id has no name.
    """
    for place, line in enumerate(text_lines(content, file), 1):
        if found := line.split()[:fields]:
            yield _line(found, place, f"{file}: line {place}", classes, size)


def _line(fields: list[str], place: int, where: str, classes: dict[int, str], size: tuple[int, int]) -> YoloLine:
    if len(fields) != BOX and (len(fields) < 7 or len(fields) % 2 == 0):
        raise DataError(
            f"{where} has {len(fields)} fields, expected 5: class x y width height, or class and x y of 3 corners or "
            "more; mend or remove it"
        )
    name = None if (own := whole(fields[0])) is None else classes.get(own)
    if name is None:
        raise DataError(
            f"{where}: {unknown('class id', fields[0], map(str, classes))}; see `classes` (or `ids`) of the data set"
        )
    said = BOX_FIELDS if len(fields) == BOX else ("a corner",) * (len(fields) - 1)
    points = (
        np.array([number(text, what, where) for text, what in zip(fields[1:], said, strict=True)], np.float64).reshape(
            -1, 2
        )
        * size
    )
    return YoloLine(place, name, where, points)


def read_yolo_shapes(content: bytes, file: str, classes: dict[int, str], size: tuple[int, int]) -> list[Shape]:
    """The shapes in an annotation file; smaller ones cover larger ones, and a box is the shape of its object.

    Args:
        content: as of `yolo_lines`.
        file: named in errors.
        classes: id -> name.
        size: (width, height) of the image in pixels.

    Raises:
        DataError: a line has other fields, or an id has no name.
    """
    return [_shape(line) for line in yolo_lines(content, file, classes, size)]


def _shape(line: YoloLine) -> Shape:
    corners = line.points if line.box is None else rectangle(*line.box)
    outline = outline_of(corners.ravel().tolist(), line.where)
    return Shape(line.place, line.name, [outline], level=-area(outline))
