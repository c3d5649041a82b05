"""The reader of label images on disk: they are paired with their images by their names."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from minorkey.data.frames import turned_by_exif, upright_labels
from minorkey.data.label_images import LABEL_SUFFIXES, read_ids
from minorkey.data.readers.decode import LabelDecoder
from minorkey.data.readers.files import Files
from minorkey.data.readers.listed_pairs import listed_pairs
from minorkey.data.readers.lists import listed_images
from minorkey.data.readers.on_disk import IGNORED, DiskReader, Listed, Part
from minorkey.data.readers.pairing import Found, find_beside, need_all, some
from minorkey.data.readers.pattern import Pattern
from minorkey.data.readers.spec import DatasetSpec
from minorkey.data.sample import Sample
from minorkey.errors import DataError
from minorkey.labels import IGNORE_INDEX
from minorkey.labels.written import Colour


@dataclass(frozen=True)
class Pair(Listed):
    """An image with the files of its labels, as addresses in `Files`."""

    labels: str | None = None
    invalid: str | None = None


class PairedReader(DiskReader[Pair]):
    """Images with or without label files, labels mapped to a label space while reading.

    Pairing is checked when it is opened, the content of a file when it is read.

    Args:
        spec: how its files are named and what their ids or colours are called.
        part: what is read.

    Raises:
        NoImages: nothing below the root has the names of its images.
        DataError: no such split, or an image without a label file.
        ConfigError: the label space has no place for a class of the data set.
    """

    def __init__(self, spec: DatasetSpec, part: Part) -> None:
        self._space, self._legend = part.space, spec
        self._decoder = None if part.space is None else LabelDecoder.of(spec, part.space)
        pairs, notes = self._find(spec, part)
        super().__init__(part, pairs, notes + _lone_class(self._decoder, part))

    def __getitem__(self, index: int) -> Sample:
        """Read an image with its labels.

        Raises:
            DataError: a file is unreadable or truncated, holds ids that no map names, or sizes differ.
        """
        pair = self._images[index]
        image = self._read(pair)
        return Sample(
            image=image, domain=self.domain, key=pair.key, labels=self._labels(index, image), shown=self.pixels.places
        )

    @property
    def categories(self) -> tuple[str, ...]:
        """The classes of the data set, without what it leaves out."""
        return self._legend.own

    @property
    def colours(self) -> dict[str, Colour]:
        """Class -> RGB, where labels are painted."""
        return self._legend.colours

    def becomes(self) -> dict[str, str]:
        """The classes of the data set, and what each is in the label space of the run."""
        decoder, space = self._decoder, self._space
        if decoder is None or space is None:
            return {}
        places = {name: int(decoder.lookup[number]) for number, name in decoder.spec.classes.items()}
        return {name: IGNORED if place == IGNORE_INDEX else space.classes[place] for name, place in places.items()}

    def own_counts(self, index: int) -> dict[str, int] | None:
        """The pixels of each class of the data set in a label file; None where there is none.

        Raises:
            DataError: it is unreadable.
        """
        if self._decoder is None or not self._labelled(index):
            return None
        numbers, counts = np.unique(self._ids(index)[0], return_counts=True)
        found: Counter[str] = Counter()
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            found[self._decoder.spec.classes[number]] += count
        return dict(found)

    def _find(self, spec: DatasetSpec, part: Part) -> tuple[list[Pair], list[str]]:
        """The samples of a split, sorted by key, and what was left out."""
        return _pairs(spec, part)

    def _labelled(self, index: int) -> bool:
        return self._images[index].labels is not None

    def _ids(self, index: int, image: np.ndarray | None = None) -> tuple[np.ndarray, str]:
        """The ids of a labelled image `(H, W)` as its data set has them, and where they are from, as errors name it."""
        address = self._images[index].labels
        assert self._decoder is not None
        assert address is not None
        return self._files.decoded(address, self._decoder.kind, self._decoder.ids), self._files.where(address)

    def _labels(self, index: int, image: np.ndarray) -> np.ndarray | None:
        if self._decoder is None or not self._labelled(index):
            return None
        ids, where = self._ids(index, image)
        labels = self._decoder.map(self._upright(where, ids, index, image), where)
        if invalid := self._images[index].invalid:
            mask = self._files.decoded(invalid, "ids", read_ids)
            labels[self._upright(self._files.where(invalid), mask, index, image) != 0] = IGNORE_INDEX
        return labels

    def _upright(self, where: str, labels: np.ndarray, index: int, image: np.ndarray) -> np.ndarray:
        """The content of a label file in the frame of the image; what is of the stored pixels is turned with it."""
        found = upright_labels(labels, image.shape[:2], lambda: self.orientation(index))
        if found.shape != image.shape[:2]:
            raise DataError(
                f"{where} is {_size(labels)} but its image is {_size(image)} (width x height)"
                f"{turned_by_exif(self.orientation(index))}; they must be equal"
            )
        return found


def _lone_class(decoder: LabelDecoder | None, part: Part) -> list[str]:
    """A note where the labels of a data set name one class at most: nothing is told apart there."""
    if decoder is None or part.space is None:
        return []
    named = [name for place, name in enumerate(part.space.classes) if place in decoder.lookup]
    if len(named) > 1 or len(part.space) == 1:
        return []
    found = f"one class only, '{named[0]}'" if named else "no class"
    return [f"the labels of {part.name} name {found} of label space '{part.space.name}': nothing is told apart there"]


def _pairs(spec: DatasetSpec, part: Part) -> tuple[list[Pair], list[str]]:
    """The samples of a split, sorted by key, and what was left out."""
    files, split = part.files, part.split
    if spec.table is not None:
        labelled = part.space is not None and split not in spec.unlabelled
        rows = listed_pairs(files, spec, split, part.place, labelled=labelled)
        return [Pair(key, image, mask if labelled else None) for key, image, mask in rows], []
    images, notes = listed_images(files, spec, spec.lists, split, part.place)
    if part.space is None or split in spec.unlabelled:
        return [Pair(key, image) for key, (_, image) in images.items()], notes
    known = spec.known(split, part.place)
    labels = _for_images(files, images, Pattern(spec.labels, LABEL_SUFFIXES, known), split)
    masks = _for_images(files, images, Pattern(spec.invalid, LABEL_SUFFIXES, known), split) if spec.invalid else {}
    if spec.lists is None and (spare := labels.keys() - {of for of, _ in images.values()} - spec.skips.keys()):
        notes.append(f"label {some(spare)} of split '{split}' is left out: no image")
    return [Pair(key, image, labels[of], masks.get(of)) for key, (of, image) in images.items()], notes


def _for_images(files: Files, images: Found, pattern: Pattern, split: str) -> dict[str, str]:
    """Addresses by key of the files that match a pattern, checked to be there for every image."""
    found = find_beside(files, pattern)
    need_all(files, images, found, pattern, split)
    return found


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
