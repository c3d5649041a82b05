"""The reader of every data set of boxes on disk."""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, replace
from functools import cached_property

from minorkey.data.frames import QUARTERS, turned_by_exif, upright_boxes
from minorkey.data.readers.boxes.annotations import OfImages, OfSplit, classes_named, open_boxes
from minorkey.data.readers.boxes.objects import Objects
from minorkey.data.readers.boxes.places import BoxPlaces
from minorkey.data.readers.boxes.spec import WHOLE, BoxSpec
from minorkey.data.readers.files import Files
from minorkey.data.readers.on_disk import DiskReader, Listed, Part
from minorkey.data.readers.pairing import ANNOTATION_SUFFIXES, Found, NoSplit, find_images, find_one, hint, some
from minorkey.data.readers.pattern import Pattern
from minorkey.data.readers.text import composed, text_lines
from minorkey.data.sample import Sample
from minorkey.errors import DataError, unknown

CLASS_MARKS = frozenset({"-1", "0", "1"})
"""What follows a name in the lists of a class in Pascal VOC: whether the image shows it."""


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
        images, notes = _images(part.files, spec, part.split, part.place)
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
            return Sample(image, self.domain, boxed.key)
        height, width = image.shape[:2]
        objects = self._upright(self._annotations.objects(boxed.of, (width, height)), index, (width, height))
        boxes, classes, crowd, cut = self._places.placed(objects, width, height)
        return Sample(image, self.domain, boxed.key, boxes=boxes, box_classes=classes, crowd=crowd, cut=cut)

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


def _images(files: Files, spec: BoxSpec, split: str, place: str) -> tuple[Found, list[str]]:
    """The images of a split, by the list of it where the data set has lists."""
    images, notes = find_images(files, spec, split, place)
    if spec.lists is None or split == WHOLE:
        return images, notes
    listed = _listed(files, spec, split, place, images)
    if missing := listed - images.keys() - spec.skips.keys():
        expected = Pattern(spec.images, frozenset(), spec.known(split, place)).example(min(missing))
        raise DataError(f"{files.root}: image {some(missing)} of split '{split}' is missing; expected {expected}")
    return {key: image for key, image in images.items() if key in listed}, notes


def _listed(files: Files, spec: BoxSpec, split: str, place: str, images: Container[str]) -> set[str]:
    """The keys in the list of a split, a line each."""
    assert spec.lists is not None
    pattern = Pattern(spec.lists, ANNOTATION_SUFFIXES, spec.known(split, place))
    address = find_one(files, pattern)
    if address is None:
        named = files.names(pattern.folder)
        anywhere = Pattern(spec.lists, ANNOTATION_SUFFIXES, {"domain": spec.known(split, place)["domain"]})
        splits = [fields["split"] for name in named if (fields := anywhere.match(name))]
        known = f"; {unknown('split', split, splits)}" if splits else hint(files)
        raise NoSplit(f"{files.root}: no list of split '{split}', expected {pattern.example('*')}{known}")
    file = files.where(address)
    lines = text_lines(files.read(address), file)
    keys = {_named(composed(line), images, f"{file}: line {i + 1}") for i, line in enumerate(lines) if line}
    if not keys:
        raise DataError(f"{file} lists no image; expected a name per line")
    return keys


def _named(line: str, images: Container[str], where: str) -> str:
    """The image that a line of a list names: all of it, or its first words, as in lists of a class."""
    words = line.split(" ")
    starts = (" ".join(words[:count]).rstrip() for count in range(len(words), 0, -1))
    known = [name for name in dict.fromkeys(starts) if name in images]
    if len(known) > 1 and (known[0] != line or words[-1] in CLASS_MARKS):
        raise DataError(f"{where} may name '{known[0]}' or '{known[1]}'; rename one of these images")
    return known[0] if known else line
