"""What a classifier predicts of one image."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image, ImageDraw

from minorkey.labels import LabelSpace
from minorkey.system.storage import write_csv, write_json
from minorkey.tasks.prediction import Difference, Prediction, read_saved

SHOWN = 3
"""Classes that are named on a picture, the likeliest ones."""

LINE = 14
"""Pixels from one line of text to the next."""


@dataclass(frozen=True)
class CategoryPrediction(Prediction):
    """The class of an image."""

    folder = "classes"
    suffix = ".json"
    columns = ("category", "confidence")

    probabilities: np.ndarray  # (K,) float32, which sum to 1
    image: np.ndarray  # (H, W, 3) uint8, what was looked at
    space: LabelSpace

    @property
    def category(self) -> int:
        """The train id of the likeliest class."""
        return int(self.probabilities.argmax())

    @property
    def name(self) -> str:
        """The likeliest class."""
        return self.space.classes[self.category]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return float(self.probabilities.max())

    def likeliest(self, count: int = SHOWN) -> dict[str, float]:
        """The likeliest classes with their probabilities, in order."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return {self.space.classes[place]: float(self.probabilities[place]) for place in order}

    def draw(self) -> Image.Image:
        """The image with its likeliest classes in the upper left corner."""
        picture = Image.fromarray(self.image)
        pen = ImageDraw.Draw(picture)
        for row, (name, probability) in enumerate(self.likeliest().items()):
            pen.text((4, 3 + LINE * row), f"{name} {probability:.2f}", "white", stroke_width=2, stroke_fill="black")
        return picture

    def line(self) -> dict[str, Any]:
        """The class and all probabilities."""
        probabilities = {name: round(value, 6) for name, value in self.likeliest(len(self.space)).items()}
        return {"class": self.name, "probabilities": probabilities}

    def found(self) -> dict[str, str]:
        """The likeliest classes with their probabilities."""
        return {name: f"{probability:.2f}" for name, probability in self.likeliest().items()}

    def compared(self, other: Self) -> Difference | None:
        """Whether the class differs, and how much its probability; None where the classes to choose from do."""
        if self.space.classes != other.space.classes:
            return None
        if self.category != other.category:
            return Difference(f"{self.name} against {other.name}")
        return Difference(f"{self.name} in both, {self.confidence:.2f} against {other.confidence:.2f}")

    def save(self, path: str | Path) -> None:
        """Write the class and all probabilities as JSON.

        Raises:
            StorageError: it cannot be written.
        """
        write_json(Path(path), self.line())

    @classmethod
    def heading(cls, saved: Path) -> str:
        """The class."""
        return read_saved(saved)["class"]

    @classmethod
    def summarise(cls, saved: Mapping[str, Path], path: Path) -> None:
        """Write a CSV of all images: file, class, its probability, and those of all classes.

        Raises:
            StorageError: a saved file cannot be read, or the new one not written.
        """
        read = {name: read_saved(file) for name, file in saved.items()}
        classes = sorted({name for kept in read.values() for name in kept["probabilities"]})
        rows = [
            [name, kept["class"], kept["probabilities"][kept["class"]], *map(kept["probabilities"].get, classes)]
            for name, kept in read.items()
        ]
        write_csv(path.with_name(f"{path.name}.csv"), ["file", "class", "confidence", *classes], rows)
