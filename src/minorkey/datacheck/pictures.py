"""Images with their labels or boxes over them, as they stand in a page."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from minorkey.data.readers import Reader
from minorkey.data.records import evenly_spread
from minorkey.data.sample import Sample
from minorkey.errors import MinorkeyError
from minorkey.labels import LabelSpace, colourise
from minorkey.tasks.detection.drawing import Colour, draw_boxes
from minorkey.tasks.options import TaskName

MAX_WIDTH: dict[TaskName, int] = {"segmentation": 480, "detection": 560}
"""Pixels; boxes have names on them, which are to be read."""
OPACITY = 0.55
GREY: Colour = (150, 150, 150)
"""Of crowd boxes."""


@dataclass(frozen=True)
class Picture:
    """An image as data URIs."""

    key: str
    image: str
    overlay: str | None  # None: it has no labels


def pictures(reader: Reader, space: LabelSpace, task: TaskName, count: int) -> Iterator[Picture]:
    """Evenly spread images of a data set; those that cannot be read are left out."""
    for index in evenly_spread(len(reader), count):
        try:
            sample = reader[index]
        except MinorkeyError:
            continue
        small = _resized(sample.image, MAX_WIDTH[task], Image.Resampling.LANCZOS)
        painted = _painted(sample, small, space) if task == "segmentation" else _framed(sample, small, space)
        yield Picture(sample.key, _data_uri(small), None if painted is None else _data_uri(painted))


def overlay(image: np.ndarray, labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """An image in grey under the colours of its classes; ignored pixels are darkened.

    Args:
        image: `(H, W, 3)` uint8.
        labels: `(H, W)` uint8 train ids.
        space: gives the colours.

    Returns:
        `(H, W, 3)` uint8.
    """
    grey = image.mean(axis=-1, keepdims=True)
    colours = colourise(labels, space)
    return ((1 - OPACITY) * grey + OPACITY * colours).round().astype(np.uint8)


def _painted(sample: Sample, small: np.ndarray, space: LabelSpace) -> np.ndarray | None:
    if sample.labels is None:
        return None
    return overlay(small, _resized(sample.labels, small.shape[1], Image.Resampling.NEAREST), space)


def _framed(sample: Sample, small: np.ndarray, space: LabelSpace) -> np.ndarray | None:
    """The small image with the boxes of a sample, crowds in grey."""
    if sample.boxes is None or sample.box_classes is None or sample.crowd is None:
        return None
    marked = list(zip(sample.box_classes.tolist(), sample.crowd.tolist(), strict=True))
    colours = [GREY if crowd else _rgb(space.colours[train_id]) for train_id, crowd in marked]
    names = [space.classes[train_id] + (" (crowd)" if crowd else "") for train_id, crowd in marked]
    boxes = sample.boxes * (small.shape[1] / sample.image.shape[1])
    return np.asarray(draw_boxes(small, boxes, colours, names))


def _rgb(colour: np.ndarray) -> Colour:
    red, green, blue = colour.tolist()
    return red, green, blue


def _resized(pixels: np.ndarray, limit: int, resampling: Image.Resampling) -> np.ndarray:
    """Pixels, no wider than `limit`."""
    height, width = pixels.shape[:2]
    size = (min(width, limit), max(1, round(height * min(width, limit) / width)))
    return np.asarray(Image.fromarray(pixels).resize(size, resampling))


def _data_uri(pixels: np.ndarray) -> str:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
