"""Objects and detections of many images as tables of arrays, a row each, in the order of the images."""

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool]


class Truth(NamedTuple):
    """G labelled objects."""

    images: NDArray[np.int64]  # (G,) place of the image, ascending
    boxes: NDArray[np.float32]  # (G, 4) x0 y0 x1 y1 in pixels, x1 y1 exclusive
    classes: NDArray[np.int64]  # (G,) train ids
    crowd: Flags  # (G,) a crowd or a difficult object: need not be found, and what finds it is not wrong


class Found(NamedTuple):
    """D detections."""

    images: NDArray[np.int64]  # (D,) place of the image, ascending
    boxes: NDArray[np.float32]  # (D, 4) x0 y0 x1 y1 in pixels, x1 y1 exclusive
    classes: NDArray[np.int64]  # (D,) train ids
    scores: NDArray[np.float32]  # (D,) in [0, 1]


Rows = TypeVar("Rows", Truth, Found)


def choose(rows: Rows, which: NDArray) -> Rows:
    """The rows that a mask or places `which` name."""
    return type(rows)(*(column[which] for column in rows))
