"""One folder, one writer: a lock that the main process of a run holds, and that the system releases when it dies.

POSIX record locks: network file systems know them too, and forked workers, which may outlive a process that was killed,
do not inherit them. They exclude other processes alone, so a process notes by itself what it holds; and they end when
their file is closed through any descriptor, so nothing else here opens it.
"""

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from rich.console import Console

from minorkey.errors import StorageError
from minorkey.system.processes import from_main
from minorkey.system.storage import guarded, storage_errors

LOCK = ".lock"
"""Its name in the folder; removed at the end."""

_held: dict[str, int] = {}  # real paths of the folders that this process has locked, and the thread that did


@contextmanager
def sole_writer(folder: Path, console: Console) -> Iterator[None]:
    """Lock a folder in the main process while all of them work on it. All processes call this at one time.

    Args:
        folder: made if it is missing, and removed again if nothing came into it.
        console: where it is told that the file system has no locks.

    Raises:
        StorageError: another process holds it, or it cannot be made.
    """
    with ExitStack() as held:
        from_main(lambda: held.enter_context(locked(folder, lambda line: console.print(line, highlight=False))))
        yield


@contextmanager
def locked(folder: Path, tell: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Lock a folder and guard it (`storage.guarded`); again in the same thread, that changes nothing."""
    place, thread = os.path.realpath(folder), threading.get_ident()
    if _held.get(place) == thread:
        yield
        return
    if place in _held:
        raise _taken(folder, "another thread of this process")
    with storage_errors(folder / LOCK):
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        file = _acquire(folder, tell)
    _held[place] = thread
    try:
        with guarded(folder):
            yield
    finally:
        del _held[place]
        if _release(folder, file) and made:
            with suppress(OSError):
                folder.rmdir()  # refused unless it is empty


def _acquire(folder: Path, tell: Callable[[str], None]) -> IO[str] | None:
    """The locked file; None on a file system without locks."""
    while True:
        file = (folder / LOCK).open("a+", encoding="utf-8")
        try:
            _lock(file)
        except (BlockingIOError, PermissionError) as error:
            with file:
                file.seek(0)
                raise _taken(folder, file.read(200).strip() or "another process") from error
        except OSError as error:
            file.close()
            (folder / LOCK).unlink(missing_ok=True)
            tell(f"'{folder}' cannot be locked ({error.strerror}): see to it that no other process writes there")
            return None
        if _is_there(folder, file):
            break
        file.close()  # its last holder has removed it meanwhile
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def _taken(folder: Path, holder: str) -> StorageError:
    return StorageError(
        f"'{folder}' is being written to by {holder}; wait until that has ended, or stop it, or choose another folder"
    )


def _is_there(folder: Path, file: IO[str]) -> bool:
    with suppress(OSError):
        return os.path.samestat((folder / LOCK).stat(), os.fstat(file.fileno()))
    return False


def _release(folder: Path, file: IO[str] | None) -> bool:
    """Remove the file while it is locked, so that whoever opened it meanwhile sees that it is not the one there.

    Returns whether the folder still was the one that was locked.
    """
    if file is None:
        return False
    with file:
        ours = _is_there(folder, file)
        if ours:
            with suppress(OSError):
                (folder / LOCK).unlink()
    return ours


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        file.seek(2**30)  # behind the text, which others read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
