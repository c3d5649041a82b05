"""Boxes as arrays: x0 y0 x1 y1 in pixels, x1 and y1 exclusive, so that width is x1 - x0."""

from typing import Literal

import numpy as np

Fault = Literal["not finite", "inverted", "empty", "outside"]
"""What can be wrong with a box: NaN or infinite, x1 < x0 or y1 < y0, no area, not a pixel of it in the image."""


def box_faults(boxes: np.ndarray, width: int, height: int) -> list[Fault | None]:
    """What is wrong with each box, the gravest only; one that reaches over the edge of the image is not at fault.

    Args:
        boxes: `(N, 4)` x0 y0 x1 y1 in pixels.
        width: of the image, in pixels.
        height: of the image, in pixels.

    Returns:
        N faults, None where there is none.
    """
    finite = np.isfinite(boxes).all(axis=1)
    x0, y0, x1, y1 = np.where(finite[:, None], boxes, 0).T
    by_gravity: list[tuple[Fault, np.ndarray]] = [
        ("not finite", ~finite),
        ("inverted", (x1 < x0) | (y1 < y0)),
        ("empty", (x1 == x0) | (y1 == y0)),
        ("outside", (x1 <= 0) | (y1 <= 0) | (x0 >= width) | (y0 >= height)),
    ]
    faults: list[Fault | None] = [None] * len(boxes)
    for fault, rows in reversed(by_gravity):
        for row in np.flatnonzero(rows):
            faults[row] = fault
    return faults


def cut_boxes(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Which boxes `(N, 4)` lose more than the rounding of a pixel when they are clipped to the image, `(N,)` bool."""
    return (np.abs(boxes - clip_boxes(boxes, width, height)) > 1).any(axis=1)


def clip_boxes(boxes: np.ndarray, width: float, height: float) -> np.ndarray:
    """The part of each box `(N, 4)` that lies in an image of this size; without area where none does."""
    limits = np.array([width, height, width, height], boxes.dtype)
    return boxes.clip(np.zeros_like(limits), limits)


def box_sides(boxes: np.ndarray) -> np.ndarray:
    """Widths and heights `(N, 2)` of boxes `(N, 4)`, in pixels."""
    return boxes[:, 2:] - boxes[:, :2]


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Areas `(N,)` of boxes `(N, 4)`, in square pixels."""
    return box_sides(boxes).prod(axis=1)
