"""The reader of every data set on disk: images and label files that are paired by their names."""

from typing import NamedTuple

import numpy as np

from minorkey.data.images import LABEL_SUFFIXES, read_ids, read_image
from minorkey.data.readers.decode import LabelDecoder
from minorkey.data.readers.files import Files
from minorkey.data.readers.pairing import Found, find_beside, find_images, need_all, some
from minorkey.data.readers.pattern import Pattern
from minorkey.data.readers.spec import DatasetSpec
from minorkey.data.sample import Sample
from minorkey.errors import DataError
from minorkey.labels import IGNORE_INDEX, LabelSpace


class Pair(NamedTuple):
    """The files of a sample, as addresses in `Files`."""

    key: str
    image: str
    labels: str | None
    invalid: str | None


class PairedReader:
    """Images with or without label files, labels mapped to a label space while reading.

    Pairing is checked when it is opened, the content of a file when it is read.
    """

    def __init__(
        self,
        files: Files,
        spec: DatasetSpec,
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
            spec: how its files are named and what their ids or colours are called.
            split: one of its splits.
            space: the label space of the run; None: label files are left alone, whether there are any or not.
            name: how the data set was asked for.
            domain: the domain that the samples carry.
            place: the folder of the domain, where the data set has several.

        Raises:
            NoImages: nothing below the root has the names of its images.
            DataError: no such split, or an image without a label file.
            ConfigError: the label space has no place for a class of the data set.
        """
        self.name, self.domain = name, domain
        self._files = files
        self._decoder = None if space is None else LabelDecoder.of(spec, space)
        labelled = space is not None and split not in spec.unlabelled
        self._pairs, self.notes = _pairs(files, spec, split, place, labelled)

    def __len__(self) -> int:
        """Number of images in the split."""
        return len(self._pairs)

    def key(self, index: int) -> str:
        """The name of the image within the split, without what all names share."""
        return self._pairs[index].key

    def file(self, index: int) -> tuple[str, bytes]:
        """The file of an image as errors name it, and its content.

        Raises:
            DataError: it is missing or cannot be read.
        """
        address = self._pairs[index].image
        return self._files.where(address), self._files.read(address)

    def __getitem__(self, index: int) -> Sample:
        """Read an image with its labels.

        Raises:
            DataError: a file is unreadable or truncated, holds ids that no map names, or sizes differ.
        """
        pair = self._pairs[index]
        image = self._files.decoded(pair.image, "image", read_image)
        return Sample(image=image, domain=self.domain, key=pair.key, labels=self._labels(pair, image))

    def _labels(self, pair: Pair, image: np.ndarray) -> np.ndarray | None:
        address = pair.labels
        if self._decoder is None or address is None:
            return None
        ids = self._files.decoded(address, self._decoder.kind, self._decoder.ids)
        labels = self._decoder.map(ids, self._files.where(address))
        self._same_size(address, labels, image)
        if pair.invalid:
            mask = self._files.decoded(pair.invalid, "ids", read_ids)
            self._same_size(pair.invalid, mask, image)
            labels[mask != 0] = IGNORE_INDEX
        return labels

    def _same_size(self, address: str, labels: np.ndarray, image: np.ndarray) -> None:
        if labels.shape != image.shape[:2]:
            raise DataError(
                f"{self._files.where(address)} is {_size(labels)} but its image is {_size(image)} "
                "(width x height); they must be equal"
            )


def _pairs(
    files: Files, spec: DatasetSpec, split: str, place: str, labelled: bool
) -> tuple[list[Pair], tuple[str, ...]]:
    """The samples of a split, sorted by key, and what was left out."""
    images, notes = find_images(files, spec, split, place)
    if not labelled:
        return [Pair(key, image, None, None) for key, (_, image) in images.items()], tuple(notes)
    known = spec.known(split, place)
    labels = _for_images(files, images, Pattern(spec.labels, LABEL_SUFFIXES, known), split)
    masks = _for_images(files, images, Pattern(spec.invalid, LABEL_SUFFIXES, known), split) if spec.invalid else {}
    if spare := labels.keys() - {of for of, _ in images.values()} - spec.skips.keys():
        notes.append(f"label {some(spare)} of split '{split}' is left out: no image")
    return [Pair(key, image, labels[of], masks.get(of)) for key, (of, image) in images.items()], tuple(notes)


def _for_images(files: Files, images: Found, pattern: Pattern, split: str) -> dict[str, str]:
    """Addresses by key of the files that match a pattern, checked to be there for every image."""
    found = find_beside(files, pattern)
    need_all(files, images, found, pattern, split)
    return found


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
