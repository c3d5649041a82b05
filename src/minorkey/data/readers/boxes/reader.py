"""The reader of every data set of boxes on disk."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

from minorkey.data.frames import QUARTERS, turned_by_exif, upright_boxes
from minorkey.data.readers.boxes.annotations import OfImages, OfSplit, classes_named, open_boxes
from minorkey.data.readers.boxes.objects import Objects
from minorkey.data.readers.boxes.places import BoxPlaces
from minorkey.data.readers.boxes.spec import BoxSpec
from minorkey.data.readers.lists import listed_images
from minorkey.data.readers.on_disk import DiskReader, Listed, Part
from minorkey.data.sample import Sample
from minorkey.errors import DataError


@dataclass(frozen=True)
class Boxed(Listed):
    """An image with the key of its boxes."""

    of: str


class BoxReader(DiskReader[Boxed]):
    """Images with or without boxes, classes mapped to a label space while reading.

    A file of all annotations is read when the data set is opened, the file of an image with the image.

    Args:
        spec: how its files are named and what its classes are called.
        part: what is read.

    Raises:
        NoImages: nothing below the root has the names of its images.
        DataError: no such split, or annotations are missing or broken.
        ConfigError: the label space has no place for a class of the data set.
    """

    def __init__(self, spec: BoxSpec, part: Part) -> None:
        images, notes = listed_images(part.files, spec, spec.lists, part.split, part.place)
        self._spec, self._which = spec, (part.split, part.place)
        self._annotations: OfSplit | OfImages | None = None
        if part.space is not None and part.split not in spec.unlabelled:
            self._annotations, images = open_boxes(part.files, spec, part.split, part.place, images)
            self._places = BoxPlaces.of(self._annotations.names, spec, part.space)
            notes += self._annotations.notes
        super().__init__(part, [Boxed(key, address, of) for key, (of, address) in images.items()], notes)

    def __getitem__(self, index: int) -> Sample:
        """Read an image with its boxes.

        Raises:
            DataError: a file is unreadable, a class unknown, or a box NaN, inverted, empty or outside.
        """
        boxed = self._images[index]
        image = self._read(boxed)
        if self._annotations is None:
            return Sample(image, self.domain, boxed.key, shown=self.pixels.places)
        height, width = image.shape[:2]
        objects = self._upright(self._annotations.objects(boxed.of, (width, height)), index, (width, height))
        boxes, classes, crowd, cut = self._places.placed(objects, width, height)
        return Sample(
            image,
            self.domain,
            boxed.key,
            boxes=boxes,
            box_classes=classes,
            crowd=crowd,
            cut=cut,
            shown=self.pixels.places,
        )

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The classes of the data set, without what it leaves out.

        Raises:
            DataError: the file that names them is missing or broken.
        """
        return classes_named(self._files, self._spec, *self._which)

    def becomes(self) -> dict[str, str]:
        """The classes of the data set, and what each is in the label space of the run."""
        return {} if self._annotations is None else self._places.named(self._annotations.names)

    def own_counts(self, index: int) -> dict[str, int] | None:
        """The boxes of each class of the data set in an image; None where it is not annotated.

        Raises:
            DataError: a file is unreadable.
        """
        if self._annotations is None:
            return None
        return dict(Counter(self._annotations.objects(self._images[index].of, (1, 1)).names))

    def _upright(self, objects: Objects, index: int, size: tuple[int, int]) -> Objects:
        """The objects in the frame of the image (width, height); those of the stored pixels are turned with it."""
        if all(said in (0, found) for said, found in zip(objects.size, size, strict=True)):
            return objects
        turn = self.orientation(index)
        if turn in QUARTERS and objects.size == size[::-1]:
            return replace(objects, boxes=upright_boxes(objects.boxes, size, turn), size=size)
        said, found = ("{}x{}".format(*sides) for sides in (objects.size, size))
        raise DataError(
            f"{objects.file}: boxes in an image of {said} but {self.where(index)} is {found} (width x height)"
            f"{turned_by_exif(turn)}; they must be equal"
        )
