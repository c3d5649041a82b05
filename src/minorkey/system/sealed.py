"""Sealed JSON files: each carries a checksum of its own values and those of the files it answers for.

One is written last of a checkpoint, an adapter, a finished training, its pseudo-labels and its scores. Together they
are a chain: scores answer for the training that was judged, a training for its adapter, an adapter for its tensors.
A file without a seal is of an earlier version; then nothing is known of it, nor of the files beside it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minorkey.errors import StorageError
from minorkey.system.reading import json_of, reading, shown
from minorkey.system.regular import regular_bytes
from minorkey.system.storage import check_file, flush_file, flush_folder, sha256_of, write_json

SEAL = "#checksums"
"""The key of a seal: no class or domain is called that. `sha256` is of all else in the file, `files` are by name."""


@dataclass(frozen=True)
class Sealed:
    """A sealed file that is as it was written."""

    path: Path
    values: dict[str, Any]  # without the seal
    files: Mapping[str, str] | None = None  # SHA-256 by name; None: of an earlier version

    def sha256(self, name: str) -> str | None:
        """The checksum of a file that this one answers for; None: of an earlier version.

        Raises:
            StorageError: it does not answer for that file.
        """
        if self.files is None:
            return None
        if name not in self.files:
            raise StorageError(
                f"'{self.path.parent / name}' is not of this run: '{self.path.name}' lists {_listed(self.files)}; "
                "copy the folder again from where it is whole"
            )
        return self.files[name]

    def check(self, name: str) -> None:
        """Hold a file against its checksum.

        Raises:
            StorageError: it is missing, or has changed.
        """
        check_file(self.path.parent / name, self.sha256(name))

    def check_present(self) -> None:
        """Hold all of its files that are there against their checksums: those of pictures, which may be removed.

        Raises:
            StorageError: one has changed.
        """
        for name in self.files or ():
            if (self.path.parent / name).exists():
                self.check(name)


def files_below(folder: Path, root: Path) -> list[str]:
    """The names of all files in a folder, as a sealed file in `root` has them; none where it is missing."""
    return [path.relative_to(root).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


def write_sealed(path: Path, values: Mapping[str, Any], files: Iterable[str] = (), *, ordered: bool = True) -> None:
    """Write values as JSON, sealed with files that lie in the same folder, or below it, already.

    Args:
        path: the file.
        values: what it says.
        files: the names of those that it answers for.
        ordered: after a loss of power it is not there without them.

    Raises:
        StorageError: it cannot be written.
    """
    plain = json.loads(json.dumps(values))  # as they will be read: keys of other kinds become text
    names = list(files)
    with ThreadPoolExecutor() as pool:  # hashing holds no lock of Python's
        digests = pool.map(sha256_of, [path.parent / name for name in names])
        seal: dict[str, Any] = {"files": dict(zip(names, digests, strict=True))}
    if ordered:
        for name in names:
            flush_file(path.parent / name)
        for folder in {(path.parent / name).parent for name in names}:
            flush_folder(folder)
    write_json(path, {**plain, SEAL: {**seal, "sha256": digest({**plain, SEAL: seal})}}, ordered=ordered)


def read_sealed(path: Path) -> Sealed:
    """Read what `write_sealed` wrote, or the plain JSON of an earlier version.

    Raises:
        StorageError: it is missing, is no JSON object, or has changed since.
    """
    with reading(f"'{path}'", "copy it again from where it is whole", StorageError):
        values = json_of(regular_bytes(path))
        if not isinstance(values, dict):
            raise ValueError(f"it holds {shown(values)}, expected an object")
    return Sealed(path, values) if SEAL not in values else _opened(path, values)


def _opened(path: Path, values: dict[str, Any]) -> Sealed:
    seal = values.pop(SEAL)
    files, sha256 = (seal.get(key) for key in ("files", "sha256")) if isinstance(seal, dict) else (None, None)
    if not isinstance(files, dict) or digest({**values, SEAL: {"files": files}}) != sha256:
        raise StorageError(
            f"'{path}' is damaged, or was changed by hand: its values are not those of its checksum; "
            "copy it again from where it is whole"
        )
    return Sealed(path, values, files)


def digest(values: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of values as JSON has them, whatever their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def _listed(files: Mapping[str, str]) -> str:
    return ", ".join(sorted(files)[:3]) + (", ..." if len(files) > 3 else "") if files else "no files"
