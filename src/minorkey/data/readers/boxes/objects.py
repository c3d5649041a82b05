"""The objects of an image as the files of a data set tell of them, before their classes are mapped."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minorkey.errors import DataError


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
    size: tuple[int, int] | None = None  # width, height of the image, where the file says so

    @classmethod
    def of(cls, file: str, kind: str, found: Iterable[Annotation], size: tuple[int, int] | None = None) -> "Objects":
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


def whole_json(content: bytes, file: str) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it is broken.
    """
    try:
        return json.loads(content)
    except ValueError as error:
        raise DataError(f"{file}: broken JSON ({error}); replace the file") from error


def number(text: object, what: str, where: str) -> float:
    """A number as files write it; NaN and infinity are numbers.

    Raises:
        DataError: it is none.
    """
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {what} is {text!r}, expected a number; mend or remove it") from error
