"""What a process writes, reads and starts, by Python's audit hook."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

STARTS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pty.spawn", "ctypes.dlopen")
CONNECTS = ("socket.connect", "socket.getaddrinfo", "socket.sendto")
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.truncate")
HARMLESS = ("/dev/", "/proc/", "/sys/")


def changed_paths(event: str, arguments: tuple[object, ...]) -> list[str]:
    """The paths that an audited event is about to change."""
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        return [_text(path)] if writes and not isinstance(path, int) else []
    if event in CHANGES:
        return [_text(path) for path in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]]
    return []


def _text(path: object) -> str:
    return os.path.abspath(os.fsdecode(path)) if isinstance(path, (str, bytes, os.PathLike)) else ""


class Watch:
    """Notes changes outside some folders, reads of secrets, processes started and connections.

    Args:
        inside: folders in which may be written.
        secrets: files that nothing may read.
    """

    def __init__(self, inside: list[Path], secrets: list[Path] | None = None) -> None:
        self.inside = [str(path) for path in inside]
        self.secrets = [str(path) for path in secrets or []]

    def begin(self, notes: Path) -> None:
        """Hook this process; it cannot be undone."""
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and _text(arguments[0]) in self.secrets:
            self._write(f"reads {_text(arguments[0])}")
        if event in STARTS[:-1]:
            self._write(f"starts {arguments[0]!r}")
        if event in CONNECTS:
            self._write(f"connects {arguments[-1]!r}")
        for path in changed_paths(event, arguments):
            if path and not path.startswith(HARMLESS) and not self._is_inside(path):
                self._write(f"writes outside: {event} {path}")

    def _is_inside(self, path: str) -> bool:
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        return any(f"{real}/".startswith(f"{folder}/") for folder in self.inside)

    def _write(self, text: str) -> None:
        os.write(self._notes, text.encode(errors="backslashreplace").replace(b"\n", b" ") + b"\n")


class Events:
    """Counts what happens to the files below a folder, and does something before the event with a given number.

    Events are those of the audit hook, and `fsync`, which has none.

    Args:
        folder: only changes below it count.
        at: number of the event, from 0; None only counts.
        then: what happens there.
    """

    def __init__(self, folder: Path, at: int | None = None, then: Callable[[], object] | None = None) -> None:
        self.folder, self.at, self.then = f"{folder}/", at, then
        self.count = 0
        self.kept: dict[str, int] = {}  # bytes that are surely on the disk, of files that were written to

    def begin(self) -> None:
        """Hook this process."""
        sync = os.fsync

        def fsync(number: int) -> None:
            path = os.readlink(f"/proc/self/fd/{number if isinstance(number, int) else number.fileno()}")
            if path.startswith(self.folder):
                self._happens()
            sync(number)
            if path in self.kept:
                self.kept[path] = os.path.getsize(path)

        os.fsync = fsync
        sys.addaudithook(self._note)

    def lose_unsynced(self) -> None:
        """What a power cut does: of what was written and not flushed to the disk nothing is left."""
        for path, size in list(self.kept.items()):  # threads write meanwhile
            if os.path.isfile(path) and os.path.getsize(path) > size:
                os.truncate(path, size)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        paths = [path for path in changed_paths(event, arguments) if f"{path}/".startswith(self.folder)]
        if not paths:
            return
        self._happens()
        if event == "open":
            self.kept.setdefault(paths[0], os.path.getsize(paths[0]) if os.path.isfile(paths[0]) else 0)
        elif event == "os.rename" and len(paths) == 2:
            self._moved(*paths)

    def _moved(self, old: str, new: str) -> None:
        for path in [path for path in list(self.kept) if path == old or path.startswith(f"{old}/")]:
            self.kept[new + path[len(old) :]] = self.kept.pop(path)

    def _happens(self) -> None:
        number, self.count = self.count, self.count + 1
        if number == self.at and self.then is not None:
            self.then()


def allow_forks(most: int) -> None:
    """From now on this process is refused more than so many children, as by a system that has no more."""
    count = 0

    def note(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event == "os.fork":
            count += 1
            if count > most:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    sys.addaudithook(note)
