"""What a model says of one image: something to look at, and a file. Here that of segmentation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from minorkey.labels import LabelSpace, colourise
from minorkey.system.storage import write_atomically

BAND = 32
"""Rows that are drawn at a time."""


class Prediction(ABC):
    """What every task's predictions have in common. In a notebook they show themselves."""

    folder: ClassVar[str]  # name of a folder of saved predictions
    suffix: ClassVar[str]  # of a saved prediction

    @abstractmethod
    def draw(self) -> Image.Image:
        """The image with what was predicted on top, as large as it is."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write what was predicted, without the image.

        Raises:
            StorageError: it cannot be written.
        """

    @classmethod
    def summarise(cls, saved: Mapping[str, Path], path: Path) -> None:
        """Write the saved predictions of many images as one file, where the task has a form for that.

        Args:
            saved: name of each image -> its saved prediction.
            path: the file, without suffix.

        Raises:
            StorageError: it cannot be written.
        """
        return

    def _repr_png_(self) -> bytes | None:
        return self.draw()._repr_png_()


@dataclass(frozen=True)
class SegmentationPrediction(Prediction):
    """The classes of an image's pixels."""

    folder = "ids"
    suffix = ".png"

    labels: np.ndarray  # (H, W) uint8 train ids
    image: np.ndarray  # (H, W, 3) uint8, what was looked at
    space: LabelSpace
    probabilities: np.ndarray | None = None  # (K, H, W) float32, only where asked for

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.space.classes

    def draw(self, opacity: float = 0.6) -> Image.Image:
        """The image with its classes in colour on top; `opacity` in [0, 1]."""
        share = round(256 * opacity)
        classes = np.arange(256, dtype=np.uint8)[None]
        colours = colourise(classes, self.space)[0].astype(np.uint16) * share + 128  # to be rounded, not cut
        mixed = np.empty_like(self.image)
        for top in range(0, len(mixed), BAND):  # small enough to stay in the processor's cache
            rows = slice(top, top + BAND)
            shares = colours.take(self.labels[rows], axis=0)
            shares += self.image[rows] * np.uint16(256 - share)
            np.right_shift(shares, 8, out=mixed[rows], casting="unsafe")
        return Image.fromarray(mixed)

    def save(self, path: str | Path) -> None:
        """Write the id map as an 8-bit PNG.

        Raises:
            StorageError: it cannot be written.
        """
        save_png(Image.fromarray(self.labels), Path(path), compress_level=1)


def save_png(image: Image.Image, path: Path, compress_level: int = 6) -> None:
    """Write a PNG atomically, smaller and more slowly as `compress_level` goes from 1 to 9.

    Raises:
        StorageError: it cannot be written.
    """
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG", compress_level=compress_level))


def save_jpeg(image: Image.Image, path: Path) -> None:
    """Write a JPEG atomically, of a quality that shows no blocks.

    Raises:
        StorageError: it cannot be written.
    """
    write_atomically(path, lambda temporary: image.save(temporary, format="JPEG", quality=90))
