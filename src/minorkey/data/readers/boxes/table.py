"""The boxes of a whole split in a few arrays, so that a file of 10^6 annotations is held once and travels well."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from minorkey.data.readers.boxes.objects import Annotation, Objects


@dataclass(frozen=True)
class SplitTable:
    """The objects of I images, image by image: M in all."""

    file: str  # that tells of them, as errors name it
    images: list[str]  # I file names
    sizes: np.ndarray  # (I, 2) int32, width and height; 0 where the file does not say
    starts: np.ndarray  # (I + 1,) int64; the objects of image i are those from starts[i] to starts[i + 1]
    names: list[str]  # the classes
    classes: np.ndarray  # (M,) int16, which of `names`
    numbers: np.ndarray  # (M,) int64, how the file counts them
    boxes: np.ndarray  # (M, 4) float32, x0 y0 x1 y1 in pixels, x1 and y1 exclusive
    crowd: np.ndarray  # (M,) bool
    notes: Sequence[str] = ()  # what a user should know of the file, a line each
    splits: Sequence[str] = ()  # I names where the file says of which split an image is

    @classmethod
    def of(
        cls,
        file: str,
        images: list[str],
        sizes: Iterable[tuple[int, int]],
        names: list[str],
        found: list[list[Annotation]],
        notes: Sequence[str] = (),
        splits: Sequence[str] = (),
    ) -> "SplitTable":
        """The objects of each image as arrays; `names` are the classes in question."""
        places = {name: place for place, name in enumerate(names)}
        flat = [one for those in found for one in those]
        return cls(
            file,
            images,
            np.array(list(sizes), np.int32).reshape(-1, 2),
            np.cumsum([0, *map(len, found)]),
            names,
            np.array([places[one.name] for one in flat], np.int16),
            np.array([one.number for one in flat], np.int64),
            np.array([one.box for one in flat], np.float32).reshape(-1, 4),
            np.array([one.crowd for one in flat], bool),
            notes,
            splits,
        )

    @property
    def empty(self) -> int:
        """How many boxes have no area."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return int(((sides == 0).any(axis=1) & (sides >= 0).all(axis=1)).sum())

    def objects(self, image: int) -> Objects:
        """The objects of an image."""
        rows = slice(self.starts[image], self.starts[image + 1])
        width, height = map(int, self.sizes[image])
        return Objects(
            f"{self.file}: {self.images[image]}",
            "annotation",
            self.numbers[rows],
            [self.names[place] for place in self.classes[rows]],
            self.boxes[rows].astype(np.float64),
            self.crowd[rows],
            (width, height),
        )
