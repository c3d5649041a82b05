"""Images with their labels over them, as they stand in a page."""

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

MAX_WIDTH = 480
OPACITY = 0.55


@dataclass(frozen=True)
class Picture:
    """An image as data URIs."""

    key: str
    image: str
    overlay: str | None  # None: it has no labels


def pictures(reader: Reader, space: LabelSpace, count: int) -> Iterator[Picture]:
    """Evenly spread images of a data set; those that cannot be read are left out."""
    for index in evenly_spread(len(reader), count):
        try:
            sample = _small(reader[index])
        except MinorkeyError:
            continue
        labels = sample.labels
        painted = None if labels is None else _data_uri(overlay(sample.image, labels, space))
        yield Picture(sample.key, _data_uri(sample.image), painted)


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


def _small(sample: Sample) -> Sample:
    height, width = sample.image.shape[:2]
    size = (min(width, MAX_WIDTH), max(1, round(height * min(width, MAX_WIDTH) / width)))
    image = np.asarray(Image.fromarray(sample.image).resize(size, Image.Resampling.LANCZOS))
    if sample.labels is None:
        return Sample(image, sample.domain, sample.key)
    labels = np.asarray(Image.fromarray(sample.labels).resize(size, Image.Resampling.NEAREST))
    return Sample(image, sample.domain, sample.key, labels)


def _data_uri(pixels: np.ndarray) -> str:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
