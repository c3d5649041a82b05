"""Photographs that say how they are to be turned (EXIF), and annotations of the pixels as they are stored.

Images are read upright, as viewers show them. Their annotations may be of either frame, and sizes tell which, where the
picture is turned by a quarter: what is of the stored frame is turned with it.
"""

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import ExifTags, Image

QUARTERS = frozenset({5, 6, 7, 8})
"""Orientations that swap width and height (EXIF 2.32, tag 0x0112); the others keep them, and sizes tell nothing."""

Orientation = Callable[[], int]
"""Gives the EXIF orientation of an image, by looking into its file."""


def orientation_of(content: bytes) -> int:
    """The orientation that the file of an image declares, 1 (as stored) to 8; 1 where it declares none."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises many; whoever reads the image says what is wrong with it
        return 1


TURNS: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda values: values[:, ::-1],
    3: lambda values: values[::-1, ::-1],
    4: lambda values: values[::-1],
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: values.swapaxes(0, 1)[:, ::-1],
    7: lambda values: values.swapaxes(0, 1)[::-1, ::-1],
    8: lambda values: values.swapaxes(0, 1)[::-1],
}
"""What brings the stored pixels of each orientation upright."""


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels `(H, W)` or `(H, W, C)`, upright."""
    return np.ascontiguousarray(TURNS[orientation](values)) if orientation in TURNS else values


def upright_labels(labels: np.ndarray, shape: tuple[int, int], orientation: Orientation) -> np.ndarray:
    """Labels (H, W) in the frame of the upright image; as they are where they are not of the stored one.

    Args:
        labels: of the image.
        shape: height and width of the upright image.
        orientation: asked only where the labels have the other side up.
    """
    if labels.shape == shape or labels.shape != shape[::-1] or (turn := orientation()) not in QUARTERS:
        return labels
    return np.ascontiguousarray(labels.T[:: -1 if turn in (7, 8) else 1, :: -1 if turn in (6, 7) else 1])


def upright_boxes(boxes: np.ndarray, size: tuple[int, int], turn: int) -> np.ndarray:
    """Boxes (N, 4) of the stored pixels in the frame of the image that is turned by a quarter.

    Args:
        boxes: x0 y0 x1 y1 in pixels, x1 and y1 exclusive.
        size: width and height of the upright image.
        turn: one of `QUARTERS`.
    """
    width, height = size
    y0, x0, y1, x1 = boxes.T
    if turn in (6, 7):
        x0, x1 = width - x1, width - x0
    if turn in (7, 8):
        y0, y1 = height - y1, height - y0
    return np.stack([x0, y0, x1, y1], 1)


def turned_by_exif(turn: int) -> str:
    """What is added to an error on sizes, where the image is one that is turned."""
    return "" if turn == 1 else f" (it is turned upright, as its EXIF orientation {turn} says)"
