"""The folder layout: `images/<split>/**`, `labels/<split>/**`; an image and its label share path and stem."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from minorkey.data.images import IMAGE_SUFFIXES, LABEL_SUFFIXES, read_ids, read_image
from minorkey.data.readers.spec import DatasetSpec
from minorkey.data.sample import Sample
from minorkey.errors import DataError, unknown
from minorkey.labels import LabelSpace, apply_id_map, ids_from_colours


class FolderReader:
    """Images with label files in the folder layout, labels mapped to a label space while reading.

    Pairing is checked when it is opened, the content of a file when it is read.
    """

    def __init__(self, root: Path, split: str, spec: DatasetSpec, space: LabelSpace, name: str) -> None:
        """Open a split.

        Args:
            root: the folder that holds `images/` and `labels/`.
            split: sub-folder of both.
            spec: what the ids or colours of the label files are called.
            space: the label space of the run.
            name: how the data set was asked for.

        Raises:
            DataError: a folder, image or label file is missing, or the split is empty.
            ConfigError: the label space has no place for a class of the data set.
        """
        self.name = name
        self.domain = spec.name or root.resolve().name
        self._colours = np.array(list(spec.colours.values()), np.uint8) if spec.colours else None
        self._lookup = space.id_map(spec.ids or dict(enumerate(spec.colours)), spec.ignores)
        self._pairs = _pairs(root, split)

    def __len__(self) -> int:
        """Number of images in the split."""
        return len(self._pairs)

    def key(self, index: int) -> str:
        """The path below the split, without suffix."""
        return self._pairs[index][0]

    def __getitem__(self, index: int) -> Sample:
        """Read an image with its labels.

        Raises:
            DataError: a file is unreadable or truncated, holds ids that no map names, or sizes differ.
        """
        key, image_file, label_file = self._pairs[index]
        image = read_image(image_file)
        labels = apply_id_map(self._raw_ids(label_file), self._lookup, label_file)
        if labels.shape != image.shape[:2]:
            raise DataError(
                f"{label_file} is {_size(labels)} but its image {image_file.name} is {_size(image)} "
                "(width x height); they must be equal"
            )
        return Sample(image=image, domain=self.domain, key=key, labels=labels)

    def _raw_ids(self, file: Path) -> np.ndarray:
        if self._colours is None:
            return read_ids(file)
        return ids_from_colours(read_image(file), self._colours, file)


def _pairs(root: Path, split: str) -> list[tuple[str, Path, Path]]:
    """(key, image file, label file) of every sample of a split, sorted by key."""
    images = _by_key(_split_folder(root / "images", split), IMAGE_SUFFIXES)
    labels = _by_key(_split_folder(root / "labels", split), LABEL_SUFFIXES)
    if not images:
        raise DataError(f"{root / 'images' / split} holds no images; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    if unlabelled := images.keys() - labels.keys():
        raise DataError(
            f"{root}: image {_some(unlabelled)} of split '{split}' without a label; "
            f"expected labels/{split}/{min(unlabelled)}.png (JPEG is not read: it changes ids)"
        )
    if orphans := labels.keys() - images.keys():
        raise DataError(
            f"{root}: label {_some(orphans)} of split '{split}' without an image; "
            f"add it to images/{split} or remove the label"
        )
    return [(key, images[key], labels[key]) for key in sorted(images)]


def _split_folder(parent: Path, split: str) -> Path:
    if not parent.is_dir():
        raise DataError(f"{parent} is missing; expected a folder with one sub-folder per split")
    if not (parent / split).is_dir():
        splits = [entry.name for entry in parent.iterdir() if entry.is_dir()]
        raise DataError(f"{parent}: {unknown('split', split, splits)}" if splits else f"{parent} holds no splits")
    return parent / split


def _by_key(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in suffixes:
            key = file.relative_to(folder).with_suffix("").as_posix()
            if files.setdefault(key, file) != file:
                raise DataError(f"{folder}: {files[key].name} and {file.name} share a name; keep one of them")
    return files


def _some(keys: Iterable[str]) -> str:
    first, *rest = sorted(keys)
    return f"'{first}'" + (f" and {len(rest)} more" if rest else "")


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
