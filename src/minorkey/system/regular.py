"""The content of a file, read without waiting and within bounds, whatever lies under its name."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST = 2**30
"""Bytes of a file or of a member of an archive; the images and annotations of published data sets have less."""


def regular_bytes(path: str | Path, largest: int = LARGEST) -> bytes:
    """The content of a regular file; a pipe is not waited for, and a device not read.

    Raises:
        OSError: it is missing, cannot be read, is no regular file, or has more than `largest` bytes.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > largest:
            raise OSError(too_large(size, largest))
        return stream.read(largest)


def open_regular(path: str | Path) -> BinaryIO:
    """A regular file of any size, to be read piece by piece; a pipe is not waited for, and a device not opened.

    Raises:
        OSError: it is missing, cannot be read, or is no regular file.
    """
    # Without waiting: opening a pipe would, for whoever writes to it.
    stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError("it is no regular file")
    return stream


def too_large(size: int, largest: int = LARGEST) -> str:
    """What is wrong with a file of so many bytes."""
    return f"it has {size} bytes, at most {largest} are read"
