"""One writer in a folder: another process is refused in one line, and death frees the folder."""

import errno
import fcntl
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from minorkey.errors import StorageError
from minorkey.system.lock import LOCK, locked
from minorkey.system.storage import new_folder, write_text

HOLD = """
import sys
from pathlib import Path
from minorkey.system.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_until_the_first_ends(other, tmp_path):
    line = f"is being written to by process {other.pid} on [^\n]*; wait until that has ended"
    with pytest.raises(StorageError, match=line), locked(tmp_path / "run"):
        pass
    other.communicate("")
    assert not (tmp_path / "run").exists(), "it was made for nothing"
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).exists()


def test_death_frees_the_folder(other, tmp_path):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / "run" / LOCK).exists()
    with locked(tmp_path / "run"):
        write_text(tmp_path / "run" / "log", "")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["log"]


def test_a_thread_may_lock_twice_and_another_may_not(tmp_path):
    refused = []

    def lock() -> None:
        try:
            with locked(tmp_path):
                pass
        except StorageError as error:
            refused.append(str(error))

    with locked(tmp_path):
        with locked(tmp_path):
            pass
        assert (tmp_path / LOCK).exists()
        thread = threading.Thread(target=lock)
        thread.start()
        thread.join()
    assert ["another thread of this process" in line for line in refused] == [True]


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    said = []
    with locked(tmp_path / "run", said.append):
        write_text(tmp_path / "run" / "log", "")
    assert said == [
        f"'{tmp_path / 'run'}' cannot be locked (No locks available): see to it that no other process writes there"
    ]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["log"]


def _removed(run: Path) -> None:
    shutil.rmtree(run)


def _replaced(run: Path) -> None:
    shutil.rmtree(run)
    run.mkdir()  # may well get the same inode number


def _moved(run: Path) -> None:
    run.rename(run.with_name("moved"))


def _write_folder(path: Path) -> None:
    with new_folder(path):
        pass


@pytest.mark.parametrize("lost", [_removed, _replaced, _moved])
@pytest.mark.parametrize("write", [lambda path: write_text(path, "2"), _write_folder], ids=["file", "folder"])
def test_nothing_is_written_where_the_folder_was(tmp_path, lost, write):
    run = tmp_path / "run"
    with locked(run):
        write_text(run / "deep" / "log", "1")
        lost(run)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(StorageError, match=f"the folder '{run}' was removed, moved or replaced while"):
            write(run / "deep" / "log")
        assert sorted(tmp_path.rglob("*")) == before
    write_text(tmp_path / "run" / "log", "later")  # the guard ends with the lock
