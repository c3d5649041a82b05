"""One pass over a data set: a record of every image, read by several processes and kept on disk."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from minorkey.data.boxes import box_sides
from minorkey.data.readers.joined import on_disk
from minorkey.data.readers.reader import Reader
from minorkey.data.sample import Sample
from minorkey.data.workers import start_worker
from minorkey.errors import MinorkeyError, StorageError
from minorkey.labels import IGNORE_INDEX, LabelSpace
from minorkey.system.reading import FAULTS
from minorkey.system.sealed import read_sealed, write_sealed

PROBES = 8
"""Images whose labels are part of a cache's name, so that it is not used once the data set has changed."""
VERSION = 4
"""To be raised when other things are recorded."""
TINY_SIDE = 4.0
"""Pixels; the shorter side of a tiny box is below it: half a cell of the finest feature map of most detectors, 1/8."""


@dataclass(frozen=True)
class Record:
    """What one image and its labels, or boxes, are like."""

    key: str
    size: tuple[int, int] = (0, 0)  # width, height in pixels
    counts: tuple[int, ...] | None = None  # pixels, or boxes, of each of the K classes; None: it has no labels
    ignored: int = 0  # pixels that belong to no class
    crowd: int = 0  # boxes that are neither trained nor judged on, not in `counts`
    tiny: int = 0  # boxes among `counts` with a side below TINY_SIDE pixels
    cut: int = 0  # boxes that reached over the edge of the image, crowds among them
    own: dict[str, int] | None = None  # the same of each class of the data set itself; None: not looked at, or unknown
    turned: bool = False  # whether its EXIF orientation says so; looked at with `own`
    problem: str = ""  # why it cannot be read; then the rest is unknown


class Recorder(Protocol):
    """What makes the records: a task (`tasks.base.Task`)."""

    name: ClassVar[str]

    def record(self, sample: Sample, classes: int) -> Record:
        """The record of a sample whose labels are of `classes` classes."""


class PixelRecorder:
    """Counts labelled pixels."""

    name: ClassVar[str] = "segmentation"

    def record(self, sample: Sample, classes: int) -> Record:
        """The pixels of each class, and those of none."""
        return pixel_record(sample, classes)


PIXELS = PixelRecorder()


def read_records(
    reader: Reader,
    space: LabelSpace,
    *,
    task: Recorder = PIXELS,
    indices: Sequence[int] | None = None,
    workers: int = 0,
    cache: Path | None = None,
    own_classes: bool = False,
    anew: bool = False,
) -> Iterator[Record]:
    """The records of a data set, image by image.

    A cache holds what could be read only, so that a problem is looked at again until it is mended. It is named after
    the data set, the label space, all keys and the labels of a few images: a file that is replaced under its
    old name, and is none of these few, goes unnoticed.

    Args:
        reader: the data set.
        space: the label space that its labels are mapped to.
        task: makes the records, of what it learns.
        indices: the images to look at; None takes all.
        workers: processes that read; 0 reads in this one.
        cache: the folder of the caches; None reads every image anew.
        own_classes: also look at what only files on disk say, `Record.own` and `Record.turned`.
        anew: read all of them, whatever the cache has of them, which is then replaced.

    Raises:
        StorageError: the cache cannot be written.
    """
    chosen = range(len(reader)) if indices is None else indices
    file = None if cache is None else cache / f"labels-{_fingerprint(reader, space, task)}.json"
    known = _load(file)
    if anew:
        asked = {reader.key(index) for index in chosen}
        known = {key: record for key, record in known.items() if key not in asked}
    if own_classes:
        known = {key: record for key, record in known.items() if record.own is not None or record.counts is None}
    unread = {index: None for index in chosen if reader.key(index) not in known}  # in order, and quick to look up
    fresh = _read(_Records(reader, len(space), task, own_classes), list(unread), workers)
    try:
        for index in chosen:
            record = next(fresh) if index in unread else known[reader.key(index)]
            if not record.problem:
                known[record.key] = record
            yield record
    finally:
        if file is not None and unread:
            write_sealed(file, {"records": [asdict(record) for record in known.values()]}, ordered=False)


def evenly_spread(length: int, count: int) -> list[int]:
    """`count` indices below `length` (all of them where there are fewer), from the first to the last."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()


def turned_among(reader: Reader) -> int:
    """How many of a few images, evenly spread, are turned by their EXIF orientation; 0 of what is not files on disk."""
    looked_at = (on_disk(reader, index) for index in evenly_spread(len(reader), PROBES))
    with suppress(MinorkeyError):  # an image that cannot be read is said when it is needed
        return sum(source[0].orientation(source[1]) != 1 for source in looked_at if source is not None)
    return 0


def pixel_record(sample: Sample, classes: int) -> Record:
    """The record of a sample with a label image."""
    height, width = sample.image.shape[:2]
    if sample.labels is None:
        return Record(sample.key, (width, height))
    if sample.labels.shape != (height, width):
        labels = "{1}x{0}".format(*sample.labels.shape)
        problem = f"{sample.key}: labels of {labels} for an image of {width}x{height}; they must be of one size"
        return Record(sample.key, problem=problem)
    counts = np.bincount(sample.labels.ravel(), minlength=IGNORE_INDEX + 1)
    return Record(sample.key, (width, height), tuple(counts[:classes].tolist()), int(counts[IGNORE_INDEX]))


def box_record(sample: Sample, classes: int) -> Record:
    """The record of a sample with boxes."""
    height, width = sample.image.shape[:2]
    boxes, ids, crowd = sample.boxes, sample.box_classes, sample.crowd
    if boxes is None or ids is None or crowd is None:
        return Record(sample.key, (width, height))
    counts = np.bincount(ids[~crowd], minlength=classes)
    tiny = (box_sides(boxes[~crowd]) < TINY_SIDE).any(axis=1)
    record = Record(sample.key, (width, height), tuple(counts.tolist()))
    return replace(record, crowd=int(crowd.sum()), tiny=int(tiny.sum()), cut=sample.cut)


@dataclass(frozen=True)
class _Records(Dataset[Record]):
    reader: Reader
    classes: int
    task: Recorder
    own_classes: bool

    def __getitem__(self, index: int) -> Record:
        try:
            record = self.task.record(self.reader[index], self.classes)
            source = on_disk(self.reader, index) if self.own_classes and not record.problem else None
            if source is None:
                return record
            reader, place = source
            return replace(record, own=reader.own_counts(place), turned=reader.orientation(place) != 1)
        except MinorkeyError as error:
            return Record(self.reader.key(index), problem=str(error))


def _read(records: _Records, indices: Sequence[int], workers: int) -> Iterator[Record]:
    loader = DataLoader(
        records,
        batch_size=None,
        sampler=indices,
        num_workers=min(workers, len(indices)),
        collate_fn=_as_it_is,
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # its own: one that draws from the global state would change a training
    )
    return iter(loader)


def _as_it_is(record: Any) -> Any:
    return record


def _fingerprint(reader: Reader, space: LabelSpace, task: Recorder) -> str:
    digest = hashlib.sha256(repr((VERSION, task.name, reader.name, reader.domain, space.classes)).encode())
    for index in range(len(reader)):
        digest.update(f"{reader.key(index)}\n".encode())
    for index in evenly_spread(len(reader), PROBES):
        try:
            sample = reader[index]
        except MinorkeyError as error:
            digest.update(str(error).encode())
        else:
            arrays = [sample.labels, sample.boxes, sample.box_classes, sample.crowd]
            digest.update(b"".join(array.tobytes() for array in arrays if array is not None))
    return digest.hexdigest()[:32]


def _load(file: Path | None) -> dict[str, Record]:
    """What a cache holds, by key; nothing where it is missing or damaged."""
    try:
        content = read_sealed(file).values if file else {"records": []}
        rows = [{**row, "size": tuple(row["size"]), "counts": _tuple(row["counts"])} for row in content["records"]]
        return {row["key"]: Record(**row) for row in rows}
    except (StorageError, *FAULTS):
        return {}


def _tuple(values: list[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)
