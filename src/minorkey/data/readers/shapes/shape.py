"""What a labelling tool draws on an image, and the pixels and the box that it covers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minorkey.errors import DataError

CIRCLE = 64
"""Corners of the polygon that stands for an ellipse; it lies within 0.13 % of the radius."""

CROSSINGS = 2**20
"""Of edges with rows, that are looked at together."""


class Mask(NamedTuple):
    """A part of an image, pixel by pixel."""

    inside: np.ndarray  # (h, w) bool
    left: int = 0  # of its first column
    top: int = 0


class Shape(NamedTuple):
    """An object in a file: the pixels within any of its outlines and in its mask."""

    number: int  # how the file counts it
    name: str  # its class
    outlines: Sequence[np.ndarray] = ()  # (n, 2) float64 each, x y in pixels, 0 0 the corner of the image
    mask: Mask | None = None
    level: float = 0  # it covers those of lower levels, and of its own those before it
    crowd: bool = False  # several objects that were not told apart


def drawn(shapes: Iterable[Shape], ids: Mapping[str, int], background: int, size: tuple[int, int]) -> np.ndarray:
    """The label image of an image.

    Args:
        shapes: its objects.
        ids: class name -> id.
        background: id of the pixels that no shape covers.
        size: (width, height) in pixels.

    Returns:
        (H, W) uint8.
    """
    width, height = size
    labels = np.full((height, width), background, np.uint8)
    for shape in sorted(shapes, key=lambda shape: shape.level):
        paint(labels, shape, ids[shape.name])
    return labels


def paint(labels: np.ndarray, shape: Shape, value: int) -> None:
    """Give the pixels of a shape a value, in place; what lies outside the image is left out."""
    for outline in shape.outlines:
        _fill(labels, outline, value)
    if shape.mask is not None:
        inside, left, top = shape.mask
        x0, y0 = max(0, left), max(0, top)
        part = inside[y0 - top :, x0 - left :]
        window = labels[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]]
        window[part[: window.shape[0], : window.shape[1]]] = value


def extent(shape: Shape) -> tuple[float, float, float, float]:
    """The box x0 y0 x1 y1 around a shape in pixels, x1 and y1 exclusive; empty where it covers nothing."""
    points = [outline for outline in shape.outlines if len(outline)]
    if shape.mask is not None and shape.mask.inside.any():
        inside, left, top = shape.mask
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        corners = [[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]]
        points.append(np.array(corners, np.float64) + np.array([left, top]))
    if not points:
        return 0.0, 0.0, 0.0, 0.0
    every = np.concatenate(points)
    (x0, y0), (x1, y1) = every.min(0).tolist(), every.max(0).tolist()
    return x0, y0, x1, y1


def outline_of(numbers: Sequence[float], where: str) -> np.ndarray:
    """Corners (n, 2) of `x y x y ...`.

    Raises:
        DataError: these are no three corners, or one is not finite.
    """
    corners = np.asarray(numbers, np.float64)
    if corners.size % 2 or corners.size < 6 or not np.isfinite(corners).all():
        raise DataError(f"{where}: an outline of {corners.size} numbers, expected x y of 3 corners or more; mend it")
    return corners.reshape(-1, 2)


def area(outline: np.ndarray) -> float:
    """What an outline (n, 2) encloses, in square pixels (the trapezoid formula)."""
    x, y = outline.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """The corners (4, 2) of a box."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def ellipse(x: float, y: float, across: float, down: float) -> np.ndarray:
    """A polygon (64, 2) for an ellipse with this middle and these half axes."""
    angle = np.arange(CIRCLE) * (2 * np.pi / CIRCLE)
    return np.stack([x + across * np.cos(angle), y + down * np.sin(angle)], 1)


def turned(outline: np.ndarray, degrees: float) -> np.ndarray:
    """An outline turned clockwise, as seen, around the middle of its extent."""
    if not degrees:
        return outline
    middle, angle = (outline.min(0) + outline.max(0)) / 2, np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    return (outline - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle


def _fill(labels: np.ndarray, outline: np.ndarray, value: int) -> None:
    """Fill the pixels whose middle lies within an outline, by the even-odd rule: what it goes round twice is outside.

    Along the middle of a row the inside begins and ends where edges cross it, so that it is the parity of the crossings
    to the left. Pillow would also fill all that the outline touches, which makes every shape a pixel wider.
    """
    height, width = labels.shape
    x, y = outline.T
    first, last = max(0, int(np.floor(y.min()))), min(height, int(np.ceil(y.max())))
    left, right = max(0, int(np.floor(x.min()))), min(width, int(np.ceil(x.max())))
    if first >= last or left >= right:
        return
    parity = np.zeros((last - first, right - left + 1), np.uint8)
    ends = np.roll(outline, -1, axis=0)
    step = max(1, CROSSINGS // (last - first))  # so that memory is bounded, however many edges there are
    for edge in range(0, len(outline), step):
        row, crossing = _crossings(outline[edge : edge + step], ends[edge : edge + step], first, last)
        column = np.clip(np.ceil(crossing - 0.5), left, right).astype(np.int64)
        np.add.at(parity, (row - first, column - left), 1)
    inside = np.bitwise_and(np.cumsum(parity[:, :-1], axis=1, dtype=np.uint8), 1).astype(bool)
    labels[first:last, left:right][inside] = value


def _crossings(starts: np.ndarray, ends: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Where edges (n, 2) to (n, 2) cross the middles of the rows from `first` to before `last`: row and x of each."""
    (x, y), (x1, y1) = starts.T, ends.T
    low, high = np.minimum(y, y1), np.maximum(y, y1)
    begin = np.clip(np.ceil(low - 0.5), first, last).astype(np.int64)  # rows with low <= row + 0.5 < high
    counts = np.clip(np.ceil(high - 0.5), first, last).astype(np.int64) - begin
    edge = np.repeat(np.arange(len(x)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + begin[edge]
    return row, x[edge] + (row + 0.5 - y[edge]) * (x1 - x)[edge] / (y1 - y)[edge]
