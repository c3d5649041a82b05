"""Decoded pixels kept on disk: a training maps them into memory and reads the window that it needs.

`files/` says which content a file had when it was last seen, by path, size and time of change; `pixels/` holds what
was decoded, named by the hash of the content it came from. So a file that changes is decoded anew, and one that moves
is not. One that changes within the resolution of its time, to the same size, goes unnoticed. Entries are moved into
place whole: any number of processes may read and fill one cache. Each ends with a checksum, which a process looks at
when it first reads the entry; what is damaged is decoded anew.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np

from minorkey.system.storage import storage_errors, write_atomically, write_text

VERSION = 3
"""To be raised when files are decoded to other pixels, or kept in another form."""

CHECKSUM_BYTES = 4
"""Of the CRC-32 behind the array. It finds accidents, at the speed of the disk, which is all that it is for."""


class RawCache:
    """A folder of decoded pixels. Instances can be sent to other processes and hold no open file."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made when something is kept there."""
        self.folder = folder.expanduser()
        self.written = 0  # bytes of pixels that this instance kept
        self._checked = set[str]()  # names of entries that were whole when this instance first read them

    def pixels(
        self, kind: str, stamp: str | None, read: Callable[[], bytes], decode: Callable[[bytes], np.ndarray]
    ) -> np.ndarray:
        """What `decode` makes of a file, kept from the first time on.

        Args:
            kind: what it is decoded to, e.g. `image`; part of a file name.
            stamp: of the file (`file_stamp`); None: its content is read and hashed every time.
            read: gives the content of the file.
            decode: gives an array of any shape and type.

        Returns:
            That array; from the second time on one that is mapped from disk and cannot be written to.

        Raises:
            DataError: what `read` and `decode` raise.
            StorageError: the pixels cannot be kept, e.g. because the disk is full.
        """
        seen = None if stamp is None else self._place("files", _hash(f"{VERSION} {kind} {stamp}".encode()))
        if seen is not None and (kept := self._kept(seen)) is not None:
            return kept
        content = read()
        pixels = self._place("pixels", f"{_hash(content)}-{kind}-{VERSION}.npy")
        array = self._mapped(pixels)
        if array is None:
            array = decode(content)
            with _under_own_name(pixels) as file:
                write_atomically(file, partial(_save, array))
            self.written += array.nbytes
        if seen is not None:
            with _under_own_name(seen) as file:
                write_text(file, pixels.name)
        return array

    def _kept(self, seen: Path) -> np.ndarray | None:
        """The pixels of a file that was seen before, None of another."""
        try:
            name = seen.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None
        return self._mapped(self._place("pixels", name))

    def _mapped(self, entry: Path) -> np.ndarray | None:
        """An array as it lies on disk, read-only; None where it is missing or damaged."""
        try:
            if entry.name not in self._checked:  # numpy may stumble over a damaged header in any way
                _check(entry)
                self._checked.add(entry.name)
            return np.asarray(np.load(entry, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError):
            return None

    def _place(self, part: str, name: str) -> Path:
        """Where an entry lies; 256 folders, for file systems that are slow with large ones."""
        return self.folder / part / name[:2] / name


def file_stamp(path: Path, member: str = "") -> str | None:
    """What changes when a file does: path, size and time of change, of the archive where it is a member of one.

    None where there is no such file: reading it says so.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return f"{path.absolute()}|{member}|{found.st_size}|{found.st_mtime_ns}"


def _save(array: np.ndarray, file: Path) -> None:
    with file.open("wb") as stream:  # `np.save` would add its suffix to a name
        np.save(stream, array, allow_pickle=False)
    checksum = _checksum(np.memmap(file, mode="r"))
    with file.open("ab") as stream:
        stream.write(checksum)


def _check(entry: Path) -> None:
    """Hold an entry against its checksum.

    Raises:
        OSError: it is missing.
        ValueError: it is damaged.
    """
    content = np.memmap(entry, mode="r")
    if _checksum(content[:-CHECKSUM_BYTES]) != content[-CHECKSUM_BYTES:].tobytes():
        raise ValueError(f"'{entry}' is damaged")


def _checksum(content: np.ndarray) -> bytes:
    return zlib.crc32(content.data).to_bytes(CHECKSUM_BYTES, "big")


@contextmanager
def _under_own_name(path: Path) -> Iterator[Path]:
    """A name to write a file under that no other process uses for the same entry; then it takes its place."""
    own = path.with_name(f"{path.name}.{uuid4().hex}")
    yield own
    with storage_errors(path):
        own.replace(path)


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
