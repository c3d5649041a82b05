"""The objects of an image as the files of a data set tell of them, before their classes are mapped."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Annotation(NamedTuple):
    """An object in a file."""

    number: int  # how the file counts it
    name: str  # its class
    box: Sequence[float]  # x0 y0 x1 y1 in pixels, x1 and y1 exclusive
    crowd: bool = False


@dataclass(frozen=True)
class Objects:
    """The N objects of an image."""

    file: str  # that tells of them, as errors name it
    kind: str  # what the file calls one: annotation, line, object
    numbers: np.ndarray  # (N,) int64, how the file counts them
    names: list[str]  # N classes
    boxes: np.ndarray  # (N, 4) float64, x0 y0 x1 y1 in pixels, x1 and y1 exclusive
    crowd: np.ndarray  # (N,) bool
    size: tuple[int, int] = (0, 0)  # width, height of the image; 0 where the file does not say

    @classmethod
    def of(cls, file: str, kind: str, found: Iterable[Annotation], size: tuple[int, int] = (0, 0)) -> "Objects":
        """As arrays."""
        rows = list(found)
        return cls(
            file,
            kind,
            np.array([row.number for row in rows], np.int64),
            [row.name for row in rows],
            np.array([row.box for row in rows], np.float64).reshape(-1, 4),
            np.array([row.crowd for row in rows], bool),
            size,
        )

    def called(self, row: int) -> str:
        """An object as errors name it."""
        return f"{self.file}: {self.kind} {self.numbers[row]}"


Parse = Callable[[bytes, str, dict[int, str], tuple[int, int]], Objects]
"""`(content, file, classes by id, (width, height) of the image)`: the objects in the file of an image."""
