"""What a model predicts of one image: something to look at, and a file."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from PIL import Image

from minorkey.errors import StorageError
from minorkey.system.reading import json_of, reading
from minorkey.system.regular import regular_bytes
from minorkey.system.storage import write_atomically


@dataclass(frozen=True)
class Difference:
    """Where two predictions of one image part."""

    text: str  # how much, in a few words
    picture: Image.Image | None = None  # the image, with what differs on top


class Prediction(ABC):
    """What every task's predictions have in common. In a notebook they show themselves."""

    folder: ClassVar[str]  # name of a folder of saved predictions
    suffix: ClassVar[str]  # of a saved prediction
    columns: ClassVar[tuple[str, ...]] = ()  # attributes that are columns of a batch, where none are asked for
    of_pixels: ClassVar[bool] = False  # a class for each pixel: made with labels, an image and a label space

    @abstractmethod
    def draw(self) -> Image.Image:
        """The image with what was predicted on top, as large as it is."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write what was predicted, without the image.

        Raises:
            StorageError: it cannot be written.
        """

    def line(self) -> dict[str, Any]:
        """What was predicted in a few words, for the file of a clip that has a line for each frame."""
        return {}

    def found(self) -> dict[str, str]:
        """How much of each class was predicted, in words, the most first; empty where a task has no such thing."""
        return {}

    def compared(self, other: Self) -> Difference | None:
        """How another prediction of the same image differs from this one; None where they cannot be compared."""
        return None

    @classmethod
    def heading(cls, saved: Path) -> str:
        """What a page of many images lists a saved prediction under; empty: all are listed together.

        Raises:
            StorageError: it cannot be read.
        """
        return ""

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


def read_saved(path: Path) -> Any:
    """What a prediction that was saved as JSON holds.

    Raises:
        StorageError: it cannot be read.
    """
    with reading(f"'{path}'", "delete it and predict again", StorageError):
        return json_of(regular_bytes(path))


def save_jpeg(image: Image.Image, path: Path) -> None:
    """Write a JPEG atomically, of a quality that shows no blocks.

    Raises:
        StorageError: it cannot be written.
    """
    write_atomically(path, lambda temporary: image.save(temporary, format="JPEG", quality=90))
