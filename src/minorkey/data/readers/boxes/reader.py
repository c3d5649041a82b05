"""The reader of every data set of boxes on disk."""

from minorkey.data.images import read_image
from minorkey.data.readers.boxes.annotations import ANNOTATION_SUFFIXES, OfImages, OfSplit, open_boxes
from minorkey.data.readers.boxes.places import BoxPlaces
from minorkey.data.readers.boxes.spec import WHOLE, BoxSpec
from minorkey.data.readers.files import Files
from minorkey.data.readers.pairing import Found, find_images, find_one, hint, some
from minorkey.data.readers.pattern import Pattern
from minorkey.data.sample import Sample
from minorkey.errors import DataError, unknown
from minorkey.labels import LabelSpace


class BoxReader:
    """Images with or without boxes, classes mapped to a label space while reading.

    A file of all annotations is read when the data set is opened, the file of an image with the image.
    """

    def __init__(
        self,
        files: Files,
        spec: BoxSpec,
        split: str,
        space: LabelSpace | None,
        *,
        name: str,
        domain: str,
        place: str = "",
    ) -> None:
        """Open a split.

        Args:
            files: what lies below the root of the data set.
            spec: how its files are named and what its classes are called.
            split: one of its splits.
            space: the label space of the run; None: boxes are left alone, whether there are any or not.
            name: how the data set was asked for.
            domain: the domain that the samples carry.
            place: the domain of the data set that is meant, where it has several.

        Raises:
            NoImages: nothing below the root has the names of its images.
            DataError: no such split, or annotations are missing or broken.
            ConfigError: the label space has no place for a class of the data set.
        """
        self.name, self.domain = name, domain
        self._files = files
        images, notes = _images(files, spec, split, place)
        self._annotations: OfSplit | OfImages | None = None
        if space is not None and split not in spec.unlabelled:
            self._annotations, images = open_boxes(files, spec, split, place, images)
            self._places = BoxPlaces.of(self._annotations.names, spec, space)
            notes += self._annotations.notes
        self._images = [(key, of, address) for key, (of, address) in images.items()]
        self.notes = tuple(notes)

    def __len__(self) -> int:
        """Number of images in the split."""
        return len(self._images)

    def key(self, index: int) -> str:
        """The name of the image within the split, without what all names share."""
        return self._images[index][0]

    def file(self, index: int) -> tuple[str, bytes]:
        """The file of an image as errors name it, and its content.

        Raises:
            DataError: it is missing or cannot be read.
        """
        address = self._images[index][2]
        return self._files.where(address), self._files.read(address)

    def __getitem__(self, index: int) -> Sample:
        """Read an image with its boxes.

        Raises:
            DataError: a file is unreadable, a class unknown, or a box NaN, inverted, empty or outside.
        """
        key, of, address = self._images[index]
        image = self._files.decoded(address, "image", read_image)
        if self._annotations is None:
            return Sample(image, self.domain, key)
        height, width = image.shape[:2]
        objects = self._annotations.objects(of, (width, height))
        if objects.size not in (None, (width, height)):
            said = "{}x{}".format(*objects.size)
            raise DataError(
                f"{objects.file}: boxes in an image of {said} but {self._files.where(address)} is {width}x{height} "
                "(width x height); they must be equal"
            )
        boxes, classes, crowd, cut = self._places.placed(objects, width, height)
        return Sample(image, self.domain, key, boxes=boxes, box_classes=classes, crowd=crowd, cut=cut)


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
