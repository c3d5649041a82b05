"""A folder of which it is to be found out what exported it: the names in it, and the files that tell."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from minorkey.data.images import IMAGE_SUFFIXES
from minorkey.data.raw_cache import file_stamp
from minorkey.data.readers.files import ARCHIVES, Files
from minorkey.data.readers.splits import is_split
from minorkey.data.readers.text import text_lines

Value = TypeVar("Value")

TELLING = frozenset({"images", "annotations", "labels", "masks", "img_dir", "ann_dir", "jpegimages", "obj_train_data"})
"""Folders that say what a data set is by their names."""

Row = dict[str, Any]
"""What a `dataset.yaml` would say."""

KEPT = 32
_SCANS: dict[tuple[str, tuple[str | None, ...]], Any] = {}
"""What was made of many small files, by their paths, sizes and times: the last `KEPT` of this process."""


@dataclass(frozen=True)
class Found:
    """What a folder was taken for."""

    why: str  # what of it told so
    rows: Mapping[str, Row]  # kind of annotation -> what a `dataset.yaml` would say
    notes: Sequence[str] = ()  # what a user should know of that, a line each


class Folder:
    """The files of a folder by their names in it; folders that are all that lies in another are looked through."""

    def __init__(self, root: Path) -> None:
        """List the files.

        Raises:
            DataError: an archive is broken.
        """
        self.root, self.files = root, Files(root)
        named = {name: address for name, address in self.files.names("").items() if not name.endswith(ARCHIVES)}
        self.base = _around(named)  # what stands before each name in the patterns of a row
        self.addresses = {name.removeprefix(self.base): address for name, address in named.items()}

    @cached_property
    def children(self) -> dict[str, dict[str, None]]:
        """Folder -> what lies in it; "" is the folder itself."""
        found: dict[str, dict[str, None]] = {"": {}}
        for name in self.addresses:
            path = name
            while path:
                above, _, last = path.rpartition("/")
                inside = found.setdefault(above, {})
                if last in inside:
                    break
                inside[last] = None
                path = above
        return found

    def in_folder(self, folder: str) -> list[str]:
        """The names of the files in a folder itself, sorted."""
        start = f"{folder}/" if folder else ""
        return sorted(start + name for name in self.children.get(folder, {}) if start + name in self.addresses)

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders in a folder, sorted."""
        start = f"{folder}/" if folder else ""
        return sorted(name for name in self.children.get(folder, {}) if start + name in self.children)

    def images(self, folder: str) -> list[str]:
        """The images below a folder, sorted."""
        start = f"{folder}/" if folder else ""
        return sorted(name for name in self.addresses if name.startswith(start) and is_image(name))

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            DataError: it cannot be read.
        """
        return self.files.read(self.addresses[name])

    def where(self, name: str) -> str:
        """A file as errors name it."""
        return self.files.where(self.addresses[name])

    def lines(self, name: str) -> list[str]:
        """The lines of a text file that are not empty.

        Raises:
            DataError: it is no text.
        """
        return [line for line in text_lines(self.read(name), self.where(name)) if line]

    def scan(self, names: Iterable[str], look: Callable[[bytes, str], Iterable[Value]]) -> list[Value]:
        """What is found in files, each value once and in order.

        Args:
            names: of the files, which are read once as long as none changes.
            look: takes the content of a file, and the file as errors name it.

        Raises:
            DataError: a file cannot be read, and what `look` raises.
        """
        names = list(names)
        stamps = tuple(file_stamp(self.root / self.addresses[name]) for name in names)
        key = (f"{look.__module__}.{look.__qualname__}", stamps)
        if key not in _SCANS or None in stamps:
            found = dict.fromkeys(value for name in names for value in look(self.read(name), self.where(name)))
            while len(_SCANS) >= KEPT:
                _SCANS.pop(next(iter(_SCANS)))
            _SCANS[key] = list(found)
        return _SCANS[key]


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def stem(name: str) -> str:
    """A file name without its folders and its suffix."""
    return PurePosixPath(name).stem


def _around(names: Iterable[str]) -> str:
    """The folders, one in the other, that all names begin with; those that tell something are not looked through."""
    parts, depth = [name.split("/") for name in names], 0
    while parts and all(len(each) > depth + 1 for each in parts):
        tops = {each[depth] for each in parts}
        if len(tops) > 1 or is_split(top := next(iter(tops))) or top.lower() in TELLING:
            break
        depth += 1
    return "".join(f"{part}/" for part in parts[0][:depth]) if parts else ""
