"""Target images with pseudo-labels that an earlier round of training wrote."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from minorkey.data.label_images import read_ids
from minorkey.data.readers.reader import Reader, ReaderAround
from minorkey.data.sample import Sample
from minorkey.errors import DataError, StorageError
from minorkey.labels import IGNORE_INDEX
from minorkey.system.names import below


def label_folders(readers: Sequence[Reader], folder: Path) -> list[Path]:
    """A folder for each target: named by its domain and, where an earlier one has that name, with a number behind.

    Two targets may share a domain (`a/images` and `b/images`) and even keys; their pseudo-labels are not to mix.
    """
    names: list[str] = []
    for reader in readers:
        name, number = reader.domain, 1
        while name in names:
            number += 1
            name = f"{reader.domain}-{number}"
        names.append(name)
    return [below(folder, name) for name in names]


def pseudo_label_file(folder: Path, key: str) -> Path:
    """Where the pseudo-labels of a sample lie in the folder of its target; keys with slashes are sub-folders."""
    return below(folder, f"{key}.png")


class PseudoLabelled(ReaderAround):
    """The samples of another reader, with label images from a folder as their labels."""

    def __init__(self, reader: Reader, folder: Path, classes: int) -> None:
        """Take the labels from `folder`.

        Args:
            reader: the target.
            folder: of the PNG files that `pseudo_label_file` names, with train ids as grey values.
            classes: K, the number of classes of the run; train ids are below it, or IGNORE_INDEX.
        """
        super().__init__(reader)
        self._folder, self._classes = folder, classes

    def __getitem__(self, index: int) -> Sample:
        """Read a sample and its pseudo-labels.

        Raises:
            DataError: the image is unreadable.
            StorageError: its pseudo-labels are missing, broken, of another size or of other classes. It is no
                `DataError`, for such an image is not to be skipped among the broken ones.
        """
        sample = self._reader[index]
        return replace(sample, labels=self._labels(sample))

    def _labels(self, sample: Sample) -> np.ndarray:
        file = pseudo_label_file(self._folder, sample.key)
        try:
            labels = read_ids(file)
        except DataError as error:
            raise self._unusable(file, "missing or broken") from error
        if labels.shape != sample.image.shape[:2]:
            sizes = [f"{width}x{height}" for height, width in (labels.shape, sample.image.shape[:2])]
            raise self._unusable(file, f"{sizes[0]} for an image of {sizes[1]}")
        if ((labels >= self._classes) & (labels != IGNORE_INDEX)).any():
            raise self._unusable(file, f"not of {self._classes} classes")
        return labels.astype(np.uint8)

    def _unusable(self, file: Path, why: str) -> StorageError:
        return StorageError(
            f"pseudo-labels {file} are {why}; remove the folder '{self._folder}' and resume the run: "
            "it writes them anew"
        )
