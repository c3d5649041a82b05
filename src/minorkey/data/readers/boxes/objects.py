"""The objects of an image as the files of a data set tell of them, before their classes are mapped."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minorkey.errors import DataError
from minorkey.system.reading import json_of, words


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


def whole_json(content: bytes, file: str) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it is broken.
    """
    try:
        return json_of(content, finite=False)  # of a box that is not, the annotation is named
    except (ValueError, MemoryError) as error:
        raise DataError(f"{file}: broken JSON ({words(error)}); replace the file") from error


def number(value: object, what: str, where: str) -> float:
    """A number as files write it; NaN and infinity are numbers.

    Raises:
        DataError: it is none.
    """
    if type(value) is float:
        return value
    try:
        if isinstance(value, bool) or (isinstance(value, str) and "_" in value):  # `float` takes both
            raise ValueError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: {what} is {_short(value)}, expected a number; mend or remove it") from error


def whole(value: object) -> int | None:
    """A number without a fraction, `1.0` and `"1"` among them, as tools for tables write ids; None of what is none."""
    if type(value) is int:
        return value
    try:
        found = number(value, "", "")
    except DataError:
        return None
    return int(found) if found.is_integer() else None


FLAGS: dict[str, bool] = {"0": False, "false": False, "none": False, "": False, "1": True, "true": True}


def flag(value: object, what: str, where: str) -> bool:
    """Yes or no as files write it: 0 or 1, true or false, as text too; what is not said is no.

    Raises:
        DataError: it is something else.
    """
    if value is False or (type(value) is int and value == 0):
        return False
    given = whole(value)
    found = FLAGS.get(str(value if given is None else given).strip().lower())
    if found is None:
        raise DataError(f"{where}: {what} is {_short(value)}, expected 0 or 1; mend it")
    return found


def side(value: object, what: str, where: str) -> int:
    """A side of an image in pixels; 0 where it is not said, as 0, -1 or null.

    Raises:
        DataError: it is no number of pixels.
    """
    found = 0 if value in (None, "") else whole(value)
    if found is None or not -1 <= found < 1 << 31:
        raise DataError(f"{where}: {what} is {_short(value)}, expected a number of pixels, or 0 if not known; mend it")
    return max(0, found)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
