"""What readers of data sets on disk are asked for, and what all of them have."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from minorkey.data.deep_images import read_pixels
from minorkey.data.frames import orientation_of
from minorkey.data.pixels import DEFAULT, PixelOptions
from minorkey.data.readers.files import Files
from minorkey.data.sample import Sample
from minorkey.labels import LabelSpace

IGNORED = "ignored"
"""What classes become that are left out of training and scores."""


@dataclass(frozen=True)
class Part:
    """What is asked for of a data set on disk: a split of one of its domains."""

    files: Files  # what lies below the root of the data set
    split: str
    space: LabelSpace | None  # of the run; None: labels are left alone, whether there are any or not
    name: str  # how the data set was asked for
    domain: str  # that the samples carry
    place: str = ""  # the folder of the domain, where the data set has several
    seed: int = 0  # draws splits where the data set has none of its own
    pixels: PixelOptions = DEFAULT  # what the values of its images mean


@dataclass(frozen=True)
class Listed:
    """An image of a data set."""

    key: str  # its name within the split, without what all names share
    address: str  # in `Files`


Image = TypeVar("Image", bound=Listed)


class DiskReader(ABC, Generic[Image]):
    """Images of one domain on disk; what else their samples have is added by a subclass.

    Args:
        part: what is read.
        images: which.
        notes: what a user should know of them, a line each.
    """

    def __init__(self, part: Part, images: Sequence[Image], notes: Sequence[str] = ()) -> None:
        self.name, self.domain, self.notes = part.name, part.domain, tuple(notes)
        self._files, self._images, self.pixels = part.files, images, part.pixels
        self.left_out: dict[str, int] = {}  # class of the data set -> images of it that are not among these

    def __len__(self) -> int:
        """Number of images in the split."""
        return len(self._images)

    def key(self, index: int) -> str:
        """The name of the image within the split, without what all names share."""
        return self._images[index].key

    def where(self, index: int) -> str:
        """The file of an image, as errors name it."""
        return self._files.where(self._images[index].address)

    def file(self, index: int) -> tuple[str, bytes]:
        """The file of an image as errors name it, and its content.

        Raises:
            DataError: it is missing or cannot be read.
        """
        return self.where(index), self._files.read(self._images[index].address)

    def orientation(self, index: int) -> int:
        """The EXIF orientation that the file of an image declares, 1 to 8; see `data.frames`."""
        return orientation_of(self._files.read(self._images[index].address))

    def becomes(self) -> dict[str, str]:
        """The classes of the data set, and what each is in the label space of the run: a class, or `IGNORED`."""
        return {}

    def own_counts(self, index: int) -> dict[str, int] | None:
        """How much of each class of the data set an image shows, in what its kind is counted in; None: no labels.

        Raises:
            DataError: a file is unreadable.
        """
        return None

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Read a sample."""

    def _read(self, image: Image) -> np.ndarray:
        decode = partial(read_pixels, pixels=self.pixels)
        return self._files.decoded(image.address, kind_of_pixels(self.pixels), decode)


def kind_of_pixels(pixels: PixelOptions) -> str:
    """Names what images are decoded to, for a `RawCache`."""
    if not pixels.stated:
        return "image"
    stated = repr((pixels.channels, pixels.range)).encode()
    return f"image-{hashlib.blake2b(stated, digest_size=8).hexdigest()}"
