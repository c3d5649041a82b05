"""Another choice of samples: several splits of a data set as one, or a part of one."""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from minorkey.data.deep_images import read_pixels
from minorkey.data.images import mean_luma
from minorkey.data.pixels import picture
from minorkey.data.readers.on_disk import DiskReader
from minorkey.data.readers.reader import Reader, ReaderAround
from minorkey.data.readers.text import composed, text_lines
from minorkey.data.sample import Sample
from minorkey.errors import DataError, unknown
from minorkey.system.regular import regular_bytes

Range = tuple[float, float]
"""Mean luma from the first number and below the second, of 0 to 256."""


class Joined:
    """The samples of several readers of one domain, one reader after the other.

    The split of a sample is put before its key, `train/0001`, for splits may share names.
    """

    def __init__(self, readers: Sequence[Reader], splits: Sequence[str], *, name: str) -> None:
        """Join the readers of the splits; `name` is how they were asked for together."""
        self.name, self.domain = name, readers[0].domain
        parts = zip(splits, readers, strict=True)
        self.notes = tuple(f"{split}: {note}" for split, reader in parts for note in reader.notes)
        self._readers, self._splits = tuple(readers), tuple(splits)
        self._ends = list(accumulate(map(len, readers)))

    def __len__(self) -> int:
        """Number of samples of all splits."""
        return self._ends[-1]

    def key(self, index: int) -> str:
        """The split of a sample and its key there, without reading it."""
        part, place = self._place(index)
        return f"{self._splits[part]}/{self._readers[part].key(place)}"

    def __getitem__(self, index: int) -> Sample:
        """Read a sample."""
        part, place = self._place(index)
        return replace(self._readers[part][place], key=self.key(index))

    def _place(self, index: int) -> tuple[int, int]:
        """Which reader has a sample, and where."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        part = bisect(self._ends, index)
        return part, index - (self._ends[part - 1] if part else 0)


class Subset:
    """Some samples of another reader, in the order given."""

    def __init__(self, reader: Reader, indices: Sequence[int]) -> None:
        """Keep the samples with these indices."""
        self.name, self.domain = reader.name, reader.domain
        self.notes = (*reader.notes, f"{len(indices)} of {len(reader)} images")
        self._reader, self._indices = reader, tuple(indices)

    def __len__(self) -> int:
        """Number of samples kept."""
        return len(self._indices)

    def key(self, index: int) -> str:
        """The key of a sample, without reading it."""
        return self._reader.key(self._indices[index])

    def __getitem__(self, index: int) -> Sample:
        """Read a sample."""
        return self._reader[self._indices[index]]


def part_of(share: str | float, whole: int) -> int:
    """How many of a whole a share of it is, rounded up; it counts as it is written, not as the double next to it.

    >>> part_of(0.1, 100), part_of("1/16", 100)
    (10, 7)
    """
    return ceil(Fraction(str(share)) * whole)


def choose(reader: Reader, *, fraction: str | float | None = None, files: Path | None = None, seed: int = 0) -> Reader:
    """The part of a data set that is asked for, or all of it.

    Args:
        reader: the data set.
        fraction: part of its images, above 0 to 1, e.g. 0.5 or "1/16", rounded up; the smaller of two fractions of
            one seed is part of the larger.
        files: a text file with one key per line; empty lines and lines that start with # are skipped.
        seed: of the draw.

    Raises:
        DataError: the list cannot be read, names a key that is not there (closest offered), or is empty.
    """
    if fraction is not None:
        count = part_of(fraction, len(reader))
        order = np.random.default_rng([seed, len(reader)]).permutation(len(reader))
        return Subset(reader, sorted(order[:count].tolist()))
    if files is not None:
        return Subset(reader, _listed(reader, files))
    return reader


def of_brightness(reader: DiskReader[Any], luma: Range) -> Subset:
    """The images of a mean luma in a range (`images.mean_luma`); each image is decoded for that, labels are not read.

    Raises:
        DataError: there is no such image, or one is broken.
    """
    low, high = luma
    found = [_luma(reader, index) for index in range(len(reader))]
    chosen = [index for index, value in enumerate(found) if low <= value < high]
    if not chosen:
        raise DataError(
            f"{reader.name} is empty: no image has a mean luma of {low:g} to {high:g}, theirs are "
            f"{min(found):.1f} to {max(found):.1f}; change `brightness` of the data set, or leave the domain out"
        )
    return Subset(reader, chosen)


def _luma(reader: DiskReader[Any], index: int) -> float:
    if not reader.pixels.stated:
        return mean_luma(*reader.file(index))
    image = read_pixels(*reader.file(index), reader.pixels)
    return float(np.asarray(Image.fromarray(picture(image, reader.pixels.places)).convert("L")).mean())


def on_disk(reader: Reader, index: int) -> tuple[DiskReader[Any], int] | None:
    """The reader that an image of another one comes from, and its index there; None where it is no file."""
    if isinstance(reader, Joined):
        part, place = reader._place(index)
        return on_disk(reader._readers[part], place)
    if isinstance(reader, Subset):
        return on_disk(reader._reader, reader._indices[index])
    if isinstance(reader, ReaderAround):
        return on_disk(reader._reader, index)
    return (reader, index) if isinstance(reader, DiskReader) else None


def disk_readers(reader: Reader) -> list[DiskReader[Any]]:
    """The readers of files on disk that a reader is made of."""
    if isinstance(reader, Joined):
        return [found for part in reader._readers for found in disk_readers(part)]
    if isinstance(reader, Subset | ReaderAround):
        return disk_readers(reader._reader)
    return [reader] if isinstance(reader, DiskReader) else []


def shared_images(judged: Reader, trained: Sequence[Reader], use: str) -> list[str]:
    """A line for each data set that is trained on and has images that are judged on.

    Args:
        judged: of which images are judged on.
        trained: what is trained on.
        use: how the first is used, as the line says it.
    """
    files = set(image_files(judged)) if trained else set()
    lines = []
    for source in trained:
        if files and (both := files.intersection(image_files(source))):
            images = f"{len(both)} of {len(judged)} images of {judged.name}"
            lines.append(f"{images} are trained on, as those of {source.name}, and {use}: its scores would say little")
    return lines


def image_files(reader: Reader) -> list[str]:
    """The files of the images of a reader, as errors name them; none where they are not files of a data set on disk."""
    if isinstance(reader, ReaderAround):
        return image_files(reader._reader)
    if isinstance(reader, Joined):
        return [file for part in reader._readers for file in image_files(part)]
    if isinstance(reader, Subset):
        files = image_files(reader._reader)
        return [files[index] for index in reader._indices] if files else []
    return [reader.where(index) for index in range(len(reader))] if isinstance(reader, DiskReader) else []


def _listed(reader: Reader, files: Path) -> list[int]:
    """The places of the keys in a list."""
    try:
        lines = text_lines(regular_bytes(files), str(files))
    except OSError as error:
        raise DataError(f"cannot read the list {files}: {error}") from error
    keys = dict.fromkeys(composed(line) for line in lines if line and not line.startswith("#"))
    places = {composed(reader.key(index)): index for index in range(len(reader))}
    if strange := [key for key in keys if key not in places]:
        raise DataError(f"{files}: {_unknown_key(strange[0], list(places))} ({reader.name})")
    if not keys:
        raise DataError(f"{files} names no image; write one key per line, e.g. {reader.key(0)}")
    return [places[key] for key in keys]


def _unknown_key(key: str, keys: list[str]) -> str:
    """As `unknown`, without a list of thousands."""
    return unknown("key", key, keys).partition(" Known:")[0].rstrip(".")
