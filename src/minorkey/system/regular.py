"""The content of a file, read without waiting and within bounds, whatever lies under its name."""

import os
import stat
from pathlib import Path

LARGEST = 2**30
"""Bytes of a file or of a member of an archive; the images and annotations of published data sets have less."""


def regular_bytes(path: str | Path, largest: int = LARGEST) -> bytes:
    """The content of a regular file; a pipe is not waited for, and a device not read.

    Raises:
        OSError: it is missing, cannot be read, is no regular file, or has more than `largest` bytes.
    """
    # Without waiting: opening a pipe would, for whoever writes to it.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as stream:
        state = os.fstat(stream.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise OSError("it is no regular file")
        if state.st_size > largest:
            raise OSError(too_large(state.st_size, largest))
        return stream.read(largest)


def too_large(size: int, largest: int = LARGEST) -> str:
    """What is wrong with a file of so many bytes."""
    return f"it has {size} bytes, at most {largest} are read"
