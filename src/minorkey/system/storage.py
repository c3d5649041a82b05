"""Files are written whole or not at all: to a temporary name first, then moved into place.

A move is on disk once its folder is: folders are flushed where one file counts on another. What is written below a
guarded folder must still go into that one.
"""

import csv
import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from minorkey.errors import StorageError

_guarded: dict[Path, int] = {}  # folders, and a descriptor of each: while it is open no other has its inode


def _beside(path: Path, state: str) -> Path:
    """A hidden name in the same folder; fixed, so that what a killed process left is overwritten."""
    return path.with_name(f".{path.name}.{state}")


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Until the block ends, refuse to write below a folder that has vanished, or that another has taken the place of.

    Where the system opens no folders (Windows) nothing is noticed.
    """
    place = folder.absolute()
    try:
        opened = os.open(place, os.O_RDONLY)
    except OSError:
        yield
        return
    outer = _guarded.get(place)
    _guarded[place] = opened
    try:
        yield
    finally:
        del _guarded[place]
        _guarded.update({} if outer is None else {place: outer})
        os.close(opened)


def _check_guards(path: Path) -> None:
    """Raise `StorageError` if `path` lies below a guarded folder that is no longer there."""
    for place, opened in tuple(_guarded.items()):  # threads write
        if not path.absolute().is_relative_to(place):
            continue
        try:
            same = os.path.samestat(place.stat(), os.fstat(opened))
        except OSError:
            same = False
        if not same:
            raise StorageError(
                f"the folder '{place}' was removed, moved or replaced while it was written to, and '{path.name}' is "
                "not written anywhere else; move it back and resume, or start again in another folder"
            )


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn failures of the file system into one clear line about `path`.

    Raises:
        StorageError: such a failure, or the guarded folder around `path` is gone.
    """
    # safetensors reports a full disk as its own exception type, with the system's words inside.
    from safetensors import SafetensorError

    _check_guards(path)
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in str(error)
        reason = "the disk is full; free some space" if full else f"{error}; check the path and its permissions"
        raise StorageError(
            f"cannot write '{path}': {reason}. What was saved before is untouched; run the same command again"
        ) from error


def write_atomically(path: Path, write: Callable[[Path], None], *, ordered: bool = False) -> None:
    """Call `write` on a temporary file beside `path`, flush it to disk, then move it into place.

    Args:
        path: the file.
        write: makes the temporary one.
        ordered: what is written next counts on this one, so its folder is flushed too (`flush_folder`).

    Raises:
        StorageError: the file system refuses; `path` is as it was before.
    """
    with new_file(path) as temporary:
        write(temporary)
    if ordered:
        flush_folder(path.parent)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary file, to be made in the block, that takes the place of `path` once it ends without an error.

    Raises:
        StorageError: the file system refuses; `path` is as it was before.
    """
    temporary = _beside(path, "partial")
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            flush_file(temporary)
            usual_mode(temporary)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def usual_mode(file: Path) -> None:
    """Let those read and write a file whom the user's umask lets; libraries make theirs their owner's alone."""
    with suppress(PermissionError):  # of a share that has no modes
        file.chmod(0o666 & ~_umask())


@cache
def _umask() -> int:
    mask = os.umask(0o077)  # it can be read by setting it alone
    os.umask(mask)
    return mask


def flush_file(file: Path) -> None:
    """Bring the content of a file to disk."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def flush_folder(folder: Path) -> None:
    """Bring to disk which files a folder has.

    Nothing where the system does not do that with folders, and in one of `new_folder`, which is flushed as a whole.
    """
    if folder.suffix != ".partial":
        _flush_entries(folder)


def _flush_entries(folder: Path) -> None:
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def write_text(path: Path, text: str, *, ordered: bool = False) -> None:
    """Write a text file atomically (`write_atomically`)."""
    write_atomically(path, lambda temporary: _write_text(temporary, text), ordered=ordered)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files may be in no encoding


def write_json(path: Path, value: Mapping[str, Any], *, ordered: bool = False) -> None:
    """Write a JSON file atomically (`write_atomically`); NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", ordered=ordered)


def write_csv(path: Path, heading: Iterable[str], lines: Iterable[Iterable[Any]]) -> None:
    """Write a table as CSV, atomically."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heading, *lines])
    write_text(path, text.getvalue())


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG atomically; lightly compressed: in little more than half of the time, a tenth larger.

    Raises:
        StorageError: it cannot be written.
    """
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG", compress_level=1))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file atomically."""
    from safetensors.torch import save_file

    # Empty metadata on an empty file would give a header that cannot be read back.
    header = dict(metadata) if metadata else None
    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomically(path, lambda temporary: save_file(content, temporary, header))


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(path: Path, sha256: str | None) -> None:
    """Hold a file against the checksum that it had when it was saved; None: none was kept.

    A file that is read right after it was checked comes from memory, not from the disk again.

    Raises:
        StorageError: it is missing, or has changed.
    """
    if sha256 is None:
        return
    try:
        found = sha256_of(path)
    except OSError as error:
        raise StorageError(f"cannot read '{path}': {error.strerror or error}") from error
    if found != sha256:
        raise StorageError(
            f"'{path}' is damaged or of another run: its sha256 is {found[:12]}, that of what was saved {sha256[:12]}; "
            "copy it again from where it is whole"
        )


def read_tensors(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        path: the file.
        sha256: what it is held against first, as `check_file`.

    Raises:
        StorageError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_file(path, sha256)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"cannot read '{path}': {error}") from error


def read_metadata(path: Path) -> dict[str, str]:
    """Read what was given to `write_tensors` as metadata, without the tensors.

    Raises:
        StorageError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise StorageError(f"cannot read '{path}': {error}") from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `path` once the block ends without an error.

    Between the two moves that this takes there is none of that name; `recover` brings the earlier one back. A link
    stays one: what it leads to is replaced.
    """
    path = path.resolve() if path.is_symlink() else path
    temporary = _beside(path, "partial")
    try:
        with storage_errors(path):
            recover(path)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            _flush_all(temporary)
            _check_guards(path)
            old = _beside(path, "old")
            shutil.rmtree(old, ignore_errors=True)
            if path.exists():
                path.replace(old)
            temporary.replace(path)
            flush_folder(path.parent)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _flush_all(folder: Path) -> None:
    """Bring a folder to disk with all that is in it, from the inside out."""
    for place in sorted(folder.rglob("*"), reverse=True):
        (_flush_entries if place.is_dir() else flush_file)(place)
    _flush_entries(folder)


def recover(path: Path) -> None:
    """Bring back the folder that was about to be replaced when a process died between the two moves of `new_folder`."""
    old = _beside(path, "old")
    if old.is_dir() and not path.exists():
        with suppress(OSError):  # of a disk that can only be read
            old.replace(path)


def remove_folder(path: Path) -> None:
    """Remove a folder so that no half of it is ever under its name; what cannot be removed is left."""
    gone = _beside(path, "gone")
    shutil.rmtree(gone, ignore_errors=True)
    with suppress(OSError):
        path.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)


def cache_folder() -> Path | None:
    """The folder of the environment variable MINORKEY_CACHE, for what is computed once; None where it is not set."""
    value = os.environ.get("MINORKEY_CACHE")
    return Path(value).expanduser() if value else None
