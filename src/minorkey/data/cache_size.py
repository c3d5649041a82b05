"""How large a cache of pixels gets, said before it is filled."""

import shutil
from collections.abc import Sequence

from minorkey.data.raw_cache import RawCache
from minorkey.data.readers.reader import Reader
from minorkey.data.records import evenly_spread
from minorkey.errors import DataError, StorageError
from minorkey.system.storage import storage_errors

PROBES = 32
"""Images of each data set that are read to know how large it gets decoded, and how much of it is there already."""


def reserve(kept: Sequence[tuple[RawCache, Reader]]) -> int:
    """About how many bytes are still to be written, from some images of each data set, which are written at once.

    Args:
        kept: data sets to be read, one or more, each with what keeps its pixels; all of them in one folder.

    Raises:
        StorageError: the disk has less, or the cache cannot be written.
    """
    folder = kept[0][0].folder
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    needed = sum(_growth(cache, reader) for cache, reader in kept)
    if needed > free:
        raise StorageError(
            f"data_cache '{folder}': about {in_bytes(needed)} are to be written, and the disk has {in_bytes(free)} "
            "left; make room, choose another folder, train on a `fraction`, or leave data_cache out"
        )
    return needed


def in_bytes(size: int) -> str:
    """A number of bytes as a user reads it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _growth(cache: RawCache, reader: Reader) -> int:
    """About how many bytes the rest of a data set adds, by what some of its images add now."""
    probes, before = evenly_spread(len(reader), PROBES), cache.written
    for index in probes:
        try:
            reader[index]
        except DataError:  # said when it is its turn
            continue
    return (cache.written - before) * (len(reader) - len(probes)) // len(probes)
