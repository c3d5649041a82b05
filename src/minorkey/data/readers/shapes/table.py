"""The shapes of a whole split from one file, image by image as short texts, which are small and travel well."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minorkey.data.readers.shapes.shape import Shape

Row = Callable[[bytes, str, tuple[int, int]], list[Shape]]
"""`(text, image as errors name it, (width, height))`: the shapes of an image."""


@dataclass(frozen=True)
class ShapeTable:
    """The shapes of the I images of a file; what is wrong with one is found when its image is read."""

    file: str  # that tells of them, as errors name it
    images: list[str]  # I file names
    sizes: list[tuple[int, int]]  # width and height; 0 where the file does not say
    rows: list[bytes]  # I texts
    read: Row
    names: Sequence[str]  # the classes
    splits: Sequence[str] = ()  # I names where the file says of which split an image is
    notes: Sequence[str] = ()  # what a user should know of the file, a line each

    def shapes(self, image: int, size: tuple[int, int]) -> list[Shape]:
        """The shapes of an image of this width and height.

        Raises:
            DataError: one is broken.
        """
        return self.read(self.rows[image], f"{self.file}: {self.images[image]}", size)
