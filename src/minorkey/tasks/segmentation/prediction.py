"""The predicted classes of an image's pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from minorkey.labels import LabelSpace, colourise
from minorkey.system.storage import save_png
from minorkey.tasks.prediction import Difference, Prediction

BAND = 32
"""Rows that are drawn at a time."""

APART = (230, 30, 150)
"""Of pixels in which two predictions differ."""

DIMMED = 0.45
"""How bright the others are beside them, in grey."""


@dataclass(frozen=True)
class SegmentationPrediction(Prediction):
    """The classes of an image's pixels."""

    folder = "ids"
    suffix = ".png"
    columns = ("labels",)
    of_pixels = True

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

    def line(self) -> dict[str, Any]:
        """The share of the pixels that each class has which is there, the largest first."""
        return {"shares": {name: round(share, 6) for name, share in self._shares().items()}}

    def found(self) -> dict[str, str]:
        """The share of the pixels of each class that has some, the largest first."""
        return {name: f"{100 * share:.1f} %" for name, share in self._shares().items()}

    def _shares(self) -> dict[str, float]:
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))[: len(self.classes)]
        order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        return {self.classes[place]: float(counts[place] / self.labels.size) for place in order}

    def compared(self, other: Self) -> Difference | None:
        """The pixels whose class differs; None where the classes to choose from do."""
        if self.classes != other.classes:
            return None
        apart = self.labels != other.labels
        grey = DIMMED * self.image.mean(axis=2, keepdims=True)
        picture = np.where(apart[..., None], np.array(APART), grey).astype(np.uint8)
        return Difference(f"{100 * apart.mean():.1f} % of the pixels differ", Image.fromarray(picture))

    def save(self, path: str | Path) -> None:
        """Write the id map as an 8-bit PNG.

        Raises:
            StorageError: it cannot be written.
        """
        save_png(Image.fromarray(self.labels), Path(path))
