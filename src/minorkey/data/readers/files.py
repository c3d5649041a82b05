"""What lies below the root of a data set: loose files and the content of its archives, in one name space."""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from minorkey.data.listing import files_below, is_hidden
from minorkey.data.raw_cache import RawCache, file_stamp
from minorkey.data.readers.archives import Member, list_members, read_member
from minorkey.data.readers.text import composed
from minorkey.errors import DataError
from minorkey.system.names import leads_out
from minorkey.system.regular import regular_bytes

ARCHIVES = (".zip", ".tar")
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".gz", ".7z", ".rar")


class Files:
    """The files of a data set. An archive in the root counts as if it were unpacked there, or in a folder of its name.

    Names are relative POSIX paths in one form of Unicode (`composed`), addresses are as they are on disk; those of
    archives are only looked up, never written to disk. Instances can be sent to other processes and hold no open file.
    """

    def __init__(self, root: Path, cache: RawCache | None = None) -> None:
        """List the archives in the folder `root`.

        Args:
            root: the folder.
            cache: keeps what `decoded` gives.

        Raises:
            DataError: an archive is broken.
        """
        self.root, self._cache = root, cache
        entries = sorted(entry for entry in root.iterdir() if entry.is_file() and not entry.name.startswith("."))
        self.packed = tuple(entry.name for entry in entries if entry.name.lower().endswith(PACKED))
        self._members: dict[str, Member] = {
            f"{entry.name}/{name}": member
            for entry in entries
            if entry.name.lower().endswith(ARCHIVES)
            for name, member in list_members(entry).items()
            if not is_hidden(name)
        }

    def names(self, folder: str) -> dict[str, str]:
        """The files below a folder, by their name relative to the root or, if none is there, to one folder in it.

        Args:
            folder: relative to the root; `*` stands for any characters within a name, "" for the root itself.

        Returns:
            Relative name -> address for `read`. A loose file hides one of the same name in an archive.

        Raises:
            DataError: the names of two loose files are one but for the form of Unicode, or the folder is not below the
                root.
        """
        self._check(folder)
        direct = {**self._members_below(folder, _inside), **self._loose(folder)}
        if direct or not folder:
            return direct
        deeper = {name.partition("/")[2]: address for name, address in self._loose(f"*/{folder}").items()}
        return {
            **self._members_below(folder, _in_folder_of_archive),
            **self._members_below(folder, _one_deeper),
            **deeper,
        }

    def passed_over(self, folder: str) -> list[str]:
        """Folders and archives that hold such files too, one folder deeper, and are not read for that."""
        if not folder:
            return []
        direct = set(self._members_below(folder, _inside).values())
        if not direct and not any(any(files_below(top)) for top in self._folders(folder)):
            return []
        members = self._members_below(folder, _one_deeper).values()
        folders = [found.relative_to(self.root).as_posix() for found in self._folders(f"*/{folder}")]
        return sorted({address.partition("/")[0] for address in members if address not in direct}.union(folders))

    def read(self, address: str) -> bytes:
        """The content of a file.

        Raises:
            DataError: it is missing, cannot be read or is not below the root.
        """
        if member := self._members.get(address):
            return read_member(member, address)
        self._check(address)
        try:
            return regular_bytes(self.root / address)
        except OSError as error:
            raise DataError(f"{self.root / address} cannot be read: {error.strerror or error}") from error

    def decoded(self, address: str, kind: str, decode: Callable[[str, bytes], np.ndarray]) -> np.ndarray:
        """What is made of a file: by `decode`, or as the cache has it, and then perhaps not to be written to.

        Args:
            address: of the file.
            kind: names what `decode` makes of it, as `RawCache.pixels` takes it.
            decode: takes the file as errors name it, and its content.

        Raises:
            DataError: the file is missing or cannot be read, and what `decode` raises.
            StorageError: the cache cannot be written.
        """
        where = self.where(address)
        if self._cache is None:
            return decode(where, self.read(address))
        member = self._members.get(address)
        path = self.root / address if member is None else Path(member.archive)
        stamp = file_stamp(path, "" if member is None else address)
        return self._cache.pixels(kind, stamp, lambda: self.read(address), lambda content: decode(where, content))

    def _check(self, name: str) -> None:
        """Raise where a name that the data set gives leads out of it. Links below the root are followed: who made them
        had the right to."""
        if leads_out(name):
            raise DataError(
                f"{self.root}: '{name}' leads out of the data set, whose files are all below its folder; put them "
                "there, or a link to where they are"
            )

    def where(self, address: str) -> str:
        """A file as errors name it: its path, or that of its archive with its name in it."""
        return str(self.root / address)

    def _loose(self, folder: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for top in self._folders(folder) if folder else [self.root]:
            above = "" if top == self.root else f"{top.relative_to(self.root).as_posix()}/"
            for name in files_below(top):
                address = above + name
                if (other := found.setdefault(composed(address), address)) != address:
                    raise DataError(
                        f"{self.root}: two files are named {composed(address)}, in two forms of Unicode "
                        f"({other!a} and {address!a}); keep one of them"
                    )
        return found

    def _folders(self, folder: str) -> list[Path]:
        """The folders of a name, in which `*` stands for any characters, in whichever form of Unicode."""
        places = [self.root]
        for part in folder.split("/"):
            if part.isascii() and "*" not in part:
                places = [place / part for place in places if (place / part).exists()]
            else:
                form = re.compile(re.escape(composed(part)).replace(r"\*", ".*"))
                places = [
                    child for place in places for child in _children(place) if form.fullmatch(composed(child.name))
                ]
        return places

    def _members_below(self, folder: str, relative: Callable[[str], str]) -> dict[str, str]:
        start = re.compile(re.escape(composed(folder)).replace(r"\*", "[^/]*") + "/" if folder else "")
        named = ((composed(relative(address)), address) for address in self._members)
        return {name: address for name, address in named if start.match(name)}


def _inside(address: str) -> str:
    """The name of a member in its archive."""
    return address.partition("/")[2]


def _one_deeper(address: str) -> str:
    """Its name relative to the first folder in its archive."""
    return _inside(_inside(address))


def _in_folder_of_archive(address: str) -> str:
    """Its name with the archive as a folder: `labels.zip/a.png` is `labels/a.png`."""
    archive, _, name = address.partition("/")
    return f"{PurePosixPath(archive).stem}/{name}"


def _children(place: Path) -> list[Path]:
    return sorted(place.iterdir()) if place.is_dir() else []
