"""Files are written whole or not at all: to a temporary name first, then moved into place."""

import csv
import errno
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from minorkey.errors import StorageError


def _beside(path: Path, state: str) -> Path:
    """A hidden name in the same folder; fixed, so that what a killed process left is overwritten."""
    return path.with_name(f".{path.name}.{state}")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn failures of the file system into one clear line about `path`."""
    # safetensors reports a full disk as its own exception type, with the system's words inside.
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in str(error)
        reason = "the disk is full; free some space" if full else f"{error}; check the path and its permissions"
        raise StorageError(
            f"cannot write '{path}': {reason}. What was saved before is untouched; run the same command again"
        ) from error


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` on a temporary file beside `path`, flush it to disk, then move it into place.

    Raises:
        StorageError: the file system refuses; `path` is as it was before.
    """
    temporary = _beside(path, "partial")
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, heading: Iterable[str], lines: Iterable[Iterable[Any]]) -> None:
    """Write a table as CSV, atomically."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heading, *lines])
    write_text(path, text.getvalue())


def save_png(image: Image.Image, path: Path, compress_level: int = 6) -> None:
    """Write a PNG atomically, smaller and more slowly as `compress_level` goes from 1 to 9.

    Raises:
        StorageError: it cannot be written.
    """
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG", compress_level=compress_level))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file atomically."""
    from safetensors.torch import save_file

    # Empty metadata on an empty file would give a header that cannot be read back.
    header = dict(metadata) if metadata else None
    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomically(path, lambda temporary: save_file(content, temporary, header))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        StorageError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

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
    """A temporary folder that takes the place of `path` once the block ends without an error."""
    temporary = _beside(path, "partial")
    try:
        with storage_errors(path):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            old = _beside(path, "old")
            shutil.rmtree(old, ignore_errors=True)
            if path.exists():
                path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def cache_folder() -> Path | None:
    """The folder of the environment variable MINORKEY_CACHE, for what is computed once; None where it is not set."""
    value = os.environ.get("MINORKEY_CACHE")
    return Path(value).expanduser() if value else None
