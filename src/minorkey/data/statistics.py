"""How often the classes occur in the labels of a data set, and what rare-class sampling makes of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minorkey.data.readers.reader import Reader
from minorkey.data.records import PIXELS, Record, Recorder, read_records
from minorkey.errors import DataError
from minorkey.labels import LabelSpace
from minorkey.system.storage import cache_folder

Progress = Callable[[Iterable[Record]], Iterable[Record]]
"""Hands on what it is given, and shows how far it is."""


@dataclass(frozen=True)
class ClassCounts:
    """Pixels, or what else a task counts, per class of the labelled images of a data set."""

    keys: tuple[str, ...]  # (N,)
    counts: np.ndarray  # (N, K) int64


def class_counts(
    reader: Reader,
    space: LabelSpace,
    *,
    task: Recorder = PIXELS,
    workers: int = 0,
    cache: Path | None = None,
    progress: Progress = iter,
) -> ClassCounts:
    """How many pixels of every class each image has; images without labels are left out.

    Args:
        reader: the data set.
        space: the label space that its labels are mapped to.
        task: counts what it learns, by default pixels.
        workers: processes that read; 0 reads in this one.
        cache: folder that keeps the counts; None takes the environment variable MINORKEY_CACHE, and without that
            they are not kept.
        progress: shows how far the reading is.

    Raises:
        DataError: a file is missing, unreadable or inconsistent.
        StorageError: the cache cannot be written.
    """
    records = []
    for record in progress(read_records(reader, space, task=task, workers=workers, cache=cache or cache_folder())):
        if record.problem:
            raise DataError(record.problem)
        records.append(record)
    return count_classes(records, len(space))


def count_classes(records: Sequence[Record], classes: int) -> ClassCounts:
    """The counts of those records that have labels."""
    labelled = [record for record in records if record.counts is not None]
    counts = np.array([record.counts for record in labelled], np.int64).reshape(len(labelled), classes)
    return ClassCounts(tuple(record.key for record in labelled), counts)


def count_images(
    readers: Sequence[Reader],
    space: LabelSpace,
    *,
    task: Recorder = PIXELS,
    workers: int = 0,
    cache: Path | None = None,
    progress: Progress = iter,
) -> tuple[np.ndarray, ...]:
    """Pixels per class of every image of several data sets, in the order of their readers.

    Args:
        readers: the data sets.
        space: as `class_counts`.
        task: as `class_counts`.
        workers: as `class_counts`.
        cache: as `class_counts`.
        progress: as `class_counts`, once per data set.

    Returns:
        An array `(N, K)` int64 for each data set of N images; the rows of images without labels are 0.

    Raises:
        DataError: a file is missing, unreadable or inconsistent.
        StorageError: the cache cannot be written.
    """
    counts = []
    for reader in readers:
        counted = class_counts(reader, space, task=task, workers=workers, cache=cache, progress=progress)
        rows = dict(zip(counted.keys, counted.counts, strict=True))
        nothing = np.zeros(len(space), np.int64)
        counts.append(np.stack([rows.get(reader.key(index), nothing) for index in range(len(reader))]))
    return tuple(counts)


def class_prior(counts: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """The share of every class in what is trained on: that of each data set, mixed as the data sets are.

    Args:
        counts: `(N, K)` pixels per image and class of each data set, as `count_images` gives them.
        weights: share of each data set in the batches; by its length where absent.

    Returns:
        `(K,)` float64 that sums to 1; all 0 where there are no pixels.
    """
    shares = [len(rows) for rows in counts] if weights is None else weights
    frequencies = np.stack([class_frequencies(rows) for rows in counts])
    mixed = np.asarray(shares, np.float64) @ frequencies
    return mixed / (mixed.sum() or 1)


def class_frequencies(counts: np.ndarray) -> np.ndarray:
    """The share of every class among the pixels that belong to one.

    Args:
        counts: `(N, K)` pixels per image and class.

    Returns:
        `(K,)` float64 that sums to 1; all 0 where there are no pixels.
    """
    total = counts.sum(axis=0, dtype=np.float64)
    return total / max(total.sum(), 1)


def inverse_frequencies(frequencies: np.ndarray) -> np.ndarray:
    """A weight for every class such that all of those that occur count alike: w_c = 1 / (K f_c), K of them.

    The mean weight of what is labelled is 1. A class that does not occur has the weight 1.

    Args:
        frequencies: `(K,)` shares f of the classes, 0 ... 1.

    >>> inverse_frequencies(np.array([0.9, 0.1, 0.0])).round(3).tolist()
    [0.556, 5.0, 1.0]
    """
    present = frequencies > 0
    shares = np.where(present, frequencies, 1.0)
    return np.where(present, 1 / (max(present.sum(), 1) * shares), 1.0)


def rare_class_probabilities(frequencies: np.ndarray, temperature: float = 0.01) -> np.ndarray:
    """How often to sample an image for the sake of each class: the rarer the class, the more often.

    P(c) = exp((1 - f_c) / T) / sum_k exp((1 - f_k) / T), over the classes that occur; no image can be drawn for one
    that does not, so its probability is 0. Source: rare class sampling of DAFormer (arXiv 2111.14887).

    Args:
        frequencies: `(K,)` shares f of the classes, 0 ... 1.
        temperature: T above 0; the higher, the more even.

    Returns:
        `(K,)` float64 that sums to 1.

    Raises:
        DataError: no class occurs.
    """
    present = frequencies > 0
    if not present.any():
        raise DataError("no class occurs in the labels: rare classes can only be sampled from labelled images")
    exponents = np.where(present, (1 - frequencies) / temperature, -np.inf)
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()
