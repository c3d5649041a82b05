"""Files inside .zip and .tar archives, read in place: an index of offsets, and plain reads of that many bytes.

Nothing is unpacked and no handle is held open, so an index can be shared by any number of threads and processes.
"""

import struct
import tarfile
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from minorkey.errors import DataError
from minorkey.system.regular import LARGEST, too_large

LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Before the content of a zip member: signature, and the lengths of its name and extra field (APPNOTE 4.3.7)."""


class Member(NamedTuple):
    """Where the content of a file lies in an archive."""

    archive: str
    offset: int  # of the content in a tar, of the local header in a zip
    size: int  # bytes in the archive
    unpacked: int  # bytes of the content
    method: int | None = None  # compression of a zip member; None in a tar
    crc: int = 0


def list_members(archive: Path) -> dict[str, Member]:
    """The files in an archive by their name in it.

    Raises:
        DataError: it is broken.
    """
    state = archive.stat()
    return _indexed(str(archive), state.st_size, state.st_mtime_ns)


def read_member(member: Member, name: str) -> bytes:
    """The content of a file in an archive; `name` is said in errors.

    Raises:
        DataError: the archive is broken, encrypted or uses a rare compression, or the content is too large.
    """
    if member.unpacked > LARGEST:
        raise DataError(f"{name} in {member.archive}: {too_large(member.unpacked)}; leave it out of the archive")
    try:
        with open(member.archive, "rb") as stream:
            stream.seek(member.offset)
            if member.method is not None:
                signature, name_length, extra_length = LOCAL_HEADER.unpack(stream.read(LOCAL_HEADER.size))
                if signature != b"PK\3\4":
                    raise _broken(member.archive, f"no file at the place of {name}")
                stream.seek(name_length + extra_length, 1)
            content = stream.read(min(member.size, LARGEST))
        return content if member.method is None else _unpacked(content, member, name)
    except (OSError, struct.error, zlib.error) as error:
        raise _broken(member.archive, f"{name}: {error}") from error


# State of the file is part of the key: an archive that is replaced is listed anew.
@lru_cache(maxsize=64)
def _indexed(archive: str, size: int, modified: int) -> dict[str, Member]:
    listed = _tar_members(archive, size) if archive.lower().endswith(".tar") else _zip_members(archive)
    return {name.removeprefix("./"): member for name, member in listed.items()}


def _zip_members(archive: str) -> dict[str, Member]:
    try:
        with zipfile.ZipFile(archive) as content:
            entries = [entry for entry in content.infolist() if not entry.is_dir()]
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:  # RuntimeError: a version of zip to come
        raise _broken(archive, error) from error
    if any(entry.flag_bits & 1 for entry in entries):
        raise DataError(f"{archive} is encrypted; unpack it with its password")
    return {
        entry.filename: Member(
            archive, entry.header_offset, entry.compress_size, entry.file_size, entry.compress_type, entry.CRC
        )
        for entry in entries
    }


def _tar_members(archive: str, size: int) -> dict[str, Member]:
    try:
        with tarfile.open(archive, "r:") as content:
            entries = [entry for entry in content if entry.isreg()]
    except (OSError, tarfile.TarError) as error:
        raise _broken(archive, error) from error
    if any(entry.offset_data + entry.size > size for entry in entries):
        raise _broken(archive, "it ends too early")
    return {entry.name: Member(archive, entry.offset_data, entry.size, entry.size) for entry in entries}


def _unpacked(content: bytes, member: Member, name: str) -> bytes:
    if member.method == zipfile.ZIP_DEFLATED:
        # No more than is declared, for a few bytes may stand for gigabytes.
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, member.unpacked + 1)
    elif member.method != zipfile.ZIP_STORED:
        raise DataError(f"{name} in {member.archive} is packed by method {member.method}; use deflate, or unpack it")
    if len(content) != member.unpacked:
        raise _broken(member.archive, f"{name} has not the size that is declared")
    if zlib.crc32(content) != member.crc:
        raise _broken(member.archive, f"checksum of {name} is wrong")
    return content


def _broken(archive: str, reason: object) -> DataError:
    return DataError(f"{archive}: broken archive ({reason}); download it again")
