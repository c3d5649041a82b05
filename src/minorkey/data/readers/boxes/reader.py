"""The reader of every data set of boxes on disk."""

from dataclasses import dataclass

from minorkey.data.readers.boxes.annotations import ANNOTATION_SUFFIXES, OfImages, OfSplit, open_boxes
from minorkey.data.readers.boxes.places import BoxPlaces
from minorkey.data.readers.boxes.spec import WHOLE, BoxSpec
from minorkey.data.readers.files import Files
from minorkey.data.readers.on_disk import DiskReader, Listed, Part
from minorkey.data.readers.pairing import Found, find_images, find_one, hint, some
from minorkey.data.readers.pattern import Pattern
from minorkey.data.sample import Sample
from minorkey.errors import DataError, unknown


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
        objects = self._annotations.objects(boxed.of, (width, height))
        if objects.size not in (None, (width, height)):
            said = "{}x{}".format(*objects.size)
            raise DataError(
                f"{objects.file}: boxes in an image of {said} but {self.where(index)} is {width}x{height} "
                "(width x height); they must be equal"
            )
        boxes, classes, crowd, cut = self._places.placed(objects, width, height)
        return Sample(image, self.domain, boxed.key, boxes=boxes, box_classes=classes, crowd=crowd, cut=cut)


def _images(files: Files, spec: BoxSpec, split: str, place: str) -> tuple[Found, list[str]]:
    """The images of a split, by the list of it where the data set has lists."""
    images, notes = find_images(files, spec, split, place)
    if spec.lists is None or split == WHOLE:
        return images, notes
    listed = _listed(files, spec, split, place)
    if missing := listed - images.keys() - spec.skips.keys():
        expected = Pattern(spec.images, frozenset(), spec.known(split, place)).example(min(missing))
        raise DataError(f"{files.root}: image {some(missing)} of split '{split}' is missing; expected {expected}")
    return {key: image for key, image in images.items() if key in listed}, notes


def _listed(files: Files, spec: BoxSpec, split: str, place: str) -> set[str]:
    """The keys in the list of a split: the first word of each line."""
    assert spec.lists is not None
    pattern = Pattern(spec.lists, ANNOTATION_SUFFIXES, spec.known(split, place))
    address = find_one(files, pattern)
    if address is None:
        named = files.names(pattern.folder)
        anywhere = Pattern(spec.lists, ANNOTATION_SUFFIXES, {"domain": spec.known(split, place)["domain"]})
        splits = [fields["split"] for name in named if (fields := anywhere.match(name))]
        known = f"; {unknown('split', split, splits)}" if splits else hint(files)
        raise DataError(f"{files.root}: no list of split '{split}', expected {pattern.example('*')}{known}")
    lines = files.read(address).decode("utf-8", errors="replace").splitlines()
    keys = {line.split()[0] for line in lines if line.strip()}
    if not keys:
        raise DataError(f"{files.where(address)} lists no image; expected a name per line")
    return keys
