"""What a model says of one image: something to look at, and a file. Here that of segmentation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from minorkey.labels import LabelSpace, colourise
from minorkey.storage import write_atomically


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
        colours = colourise(self.labels, self.space).astype(np.float32)
        mixed = (1 - opacity) * self.image.astype(np.float32) + opacity * colours
        return Image.fromarray(mixed.round().astype(np.uint8))

    def save(self, path: str | Path) -> None:
        """Write the id map as an 8-bit PNG.

        Raises:
            StorageError: it cannot be written.
        """
        save_png(Image.fromarray(self.labels), Path(path))


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG atomically.

    Raises:
        StorageError: it cannot be written.
    """
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG"))
