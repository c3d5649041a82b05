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
from minorkey.system.sealed import Sealed, read_sealed, write_sealed

SEALED = "labels.json"
"""Beside the folders of the targets: the checksums of all pseudo-labels, once they are all there."""


def seal_labels(folder: Path, files: Sequence[Path]) -> None:
    """Answer for the pseudo-labels of all targets, unless that was done.

    Raises:
        StorageError: a file cannot be read or written.
    """
    if not (folder / SEALED).is_file():
        there = [file for file in files if file.is_file()]  # an image that cannot be read has none
        write_sealed(folder / SEALED, {"images": len(there)}, [file.relative_to(folder).as_posix() for file in there])


def unseal_removed(folder: Path) -> None:
    """Let pseudo-labels that were removed be written anew: nothing answers for all until they are there again.

    Raises:
        StorageError: those that are left are not as they were written.
    """
    if (folder / SEALED).is_file():
        sealed = sealed_labels(folder)
        if not all((folder / name).is_file() for name in sealed.files or ()):
            sealed.check_present()
            (folder / SEALED).unlink()


def sealed_labels(folder: Path) -> Sealed:
    """What answers for the pseudo-labels of all targets.

    Raises:
        StorageError: it is missing or damaged.
    """
    try:
        return read_sealed(folder / SEALED)
    except StorageError as error:
        raise StorageError(f"{error}; or remove the folder '{folder}' and resume: it is written anew") from error


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

    def __init__(self, reader: Reader, folder: Path, classes: int, sealed: Sealed | None = None) -> None:
        """Take the labels from `folder`.

        Args:
            reader: the target.
            folder: of the PNG files that `pseudo_label_file` names, with train ids as grey values.
            classes: K, the number of classes of the run; train ids are below it, or IGNORE_INDEX.
            sealed: answers for the files (`sealed_labels`).
        """
        super().__init__(reader)
        self._folder, self._classes, self._sealed = folder, classes, sealed

    def __getitem__(self, index: int) -> Sample:
        """Read a sample and its pseudo-labels.

        Raises:
            DataError: the image is unreadable.
            StorageError: its pseudo-labels are missing, broken, not those that were written, of another size or of
                other classes. It is no `DataError`, for such an image is not to be skipped among the broken ones.
        """
        sample = self._reader[index]
        return replace(sample, labels=self._labels(sample))

    def _labels(self, sample: Sample) -> np.ndarray:
        file = pseudo_label_file(self._folder, sample.key)
        try:
            if self._sealed is not None:
                self._sealed.check(file.relative_to(self._sealed.path.parent).as_posix())
            labels = read_ids(file)
        except (DataError, StorageError) as error:
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
