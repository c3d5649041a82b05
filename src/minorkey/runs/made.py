"""What each result in a folder was made of, so that another model's or another image's is not taken for done.

Every process of every job has a file of its own in the folder `.made`, and adds a line to it before it writes a result.
A result that is there and that a line is about is whole, for results are moved into place.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import TypeAdapter, ValidationError

from minorkey.errors import ConfigError
from minorkey.system.regular import regular_bytes
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import sha256_of, storage_errors
from minorkey.tasks.predictor import Predictor

FOLDER = ".made"

SAMPLED = 4096
"""Bytes of an image, at its begin, middle and end, that tell it from others of its size and time."""


@dataclass(frozen=True)
class Stamp:
    """What a result is made of; where the image lies makes no difference."""

    model: str  # `model_digest`
    size: int  # of the image, in bytes
    changed: int  # the time of its last change, in nanoseconds
    sample: str  # digest of some of its bytes: images of one camera are all as large, and unpacked ones as old
    image: str = field(compare=False)  # its path


Note = tuple[str, Stamp, int]
"""The name of a result, what it is made of, and when that was noted, in nanoseconds."""

NOTES: TypeAdapter[Note] = TypeAdapter(Note)
"""A line."""


class Made:
    """The record of one process in a folder of results; it knows what all of them have noted until now.

    Args:
        out: the folder of results.
        own: names the file of this process; no other has it at the same time.
        model: `model_digest` of what predicts.
    """

    def __init__(self, out: Path, own: str, model: str) -> None:
        self._file, self._model, self._lock = out / FOLDER / f"{own}.jsonl", model, Lock()
        self._known: dict[str, Stamp] = {}
        self.refresh()

    @property
    def folder(self) -> Path:
        """Where the records of all processes are."""
        return self._file.parent

    def refresh(self) -> None:
        """Take in what others have noted since."""
        self._known = {name: stamp for name, stamp, _ in _notes(self._file.parent)}

    def stamp(self, image: Path) -> Stamp | None:
        """What a result of an image, as it is now, is made of; None: it cannot be found."""
        try:
            state = image.stat()
            sample = _sample(image, state.st_size)
        except OSError:
            return None
        path = os.fspath(image.resolve()).encode(errors="backslashreplace").decode()
        return Stamp(self._model, state.st_size, state.st_mtime_ns, sample, path)

    def stamp_of_stream(self) -> Stamp:
        """What a result of a stream or a camera is made of, which nobody can look at again."""
        return Stamp(self._model, 0, time.time_ns(), "", "")

    def is_of(self, name: str, stamp: Stamp | None) -> bool:
        """Whether the result of this name was made of that."""
        return stamp is not None and self._known.get(name) == stamp

    def begin(self, name: str, stamp: Stamp, files: Iterable[Path]) -> None:
        """Note what a result is made of, before its files are written; others that are there go.

        Raises:
            StorageError: it cannot be noted.
        """
        with self._lock, storage_errors(self._file):
            if self._known.get(name) != stamp:
                for file in files:
                    file.unlink(missing_ok=True)
            self._known[name] = stamp
            self._add(json.dumps([name, asdict(stamp), time.time_ns()]))

    def refuse_others(
        self, there: Mapping[str, Iterable[Path]], images: Mapping[str, Path], others: Iterable[Path]
    ) -> None:
        """Raise unless all that is there was made here, by this model, of these images.

        Args:
            there: name -> files of a result, for those that are there.
            images: name -> the image, or clip, that it is to be of.
            others: files that are written beside the results.

        Raises:
            ConfigError: results of another model are there, or of another image (one that has changed is none), or
                files of which it is not known what they were made of.
        """
        unknown = [] if is_folder_of_results(self._file.parents[1]) else [file for file in others if file.exists()]
        for name, files in there.items():
            if name not in self._known:
                unknown.extend(files)
            elif other := self._other(self._known[name], images.get(name)):
                raise ConfigError(
                    f"'{next(iter(files))}' was predicted {other}; choose another --out, or add --overwrite to replace "
                    "it"
                )
        if unknown:
            raise ConfigError(
                f"'{unknown[0]}' is there already, and nothing says of what it was made; choose another --out, or add "
                "--overwrite to replace it"
            )

    def _other(self, known: Stamp, image: Path | None) -> str:
        """What else a result was made of; empty: of nothing else."""
        if known.model != self._model:
            return "by another model"
        now = None if image is None else self.stamp(image)
        moved = now is not None and now != known and now.image != known.image
        return f"of another image, '{known.image}'" if moved else ""

    def open(self) -> None:
        """Say that the folder is one of results, before anything is written to it.

        Raises:
            StorageError: it cannot be written.
        """
        with storage_errors(self._file):
            self._add("")

    def _add(self, line: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # A line begins with its break: what a killed process left half is a line of its own. It is on disk before the
        # result is, of which a loss of power would else leave no record.
        with self._file.open("ab") as stream:
            stream.write(f"\n{line}".encode())
            stream.flush()
            os.fsync(stream.fileno())


def is_folder_of_results(out: Path) -> bool:
    """Whether results were written to a folder."""
    return any((out / FOLDER).glob("*.jsonl"))


def model_digest(run: RunFolder, predictor: Predictor) -> str:
    """A name for what predicts: the weights that a training left, and how they are asked, on whatever device.

    A deployed file, in the place of a run, is another model than its run.
    """
    asked = predictor.protocol.model_copy(update={"precision": "fp32"}).id()
    parts: tuple[Any, ...] = (asked, predictor.space.classes, predictor.crop, predictor.mean, predictor.std)
    if predictor.pixels.stated:
        parts += (predictor.pixels,)
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16)
    if run.path.is_file():
        weights = run.path.with_name(f"{run.path.name}.data")  # beside it, where a model is too large for one file
        for file in (run.path, *([weights] if weights.is_file() else [])):
            digest.update(sha256_of(file).encode())
        return digest.hexdigest()
    record = run.record()
    for file in (run.head, run.backbone, *(sorted(run.adapter.iterdir()) if run.adapter.is_dir() else ())):
        name = file.relative_to(run.path).as_posix()
        if known := (record.files or {}).get(name):  # it was held against that as the model was loaded
            digest.update(known.encode())
        elif file.is_file() and record.files is None:  # of an earlier version
            digest.update(sha256_of(file).encode())
    return digest.hexdigest()


def _sample(image: Path, size: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with image.open("rb") as stream:
        for start in (0, size // 2, max(0, size - SAMPLED)):
            stream.seek(start)
            digest.update(stream.read(SAMPLED))
    return digest.hexdigest()


def _notes(folder: Path) -> list[Note]:
    """All notes, the last ones last; what is none, as half a line, is passed over."""
    found = []
    for file in folder.glob("*.jsonl"):
        for line in regular_bytes(file).splitlines():
            with suppress(ValidationError):
                found.append(NOTES.validate_json(line))
    return sorted(found, key=lambda note: note[-1])
