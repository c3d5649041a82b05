"""Commands without their start, for tests that call them often.

Importing torch and transformers, and reading tables at first use, takes longer than most of what an example asks for.
Here one process does both, and each call is a fork of it, with the arguments, folder, environment and streams of the
one who called, and ends with it. Calls come from the files in its folder, which stand for commands, and from `Forked`.

    python warm_commands.py FOLDER     # until its standard input ends; the folder is there once it is ready
"""

import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import connection, get_context
from pathlib import Path
from pkgutil import walk_packages

FORK = get_context("fork")
STDIN = 0
SOCKET = "socket"

CALL = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"0"], [0, 1, 2])
    server.sendall(json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\\n")
    with server.makefile() as said:
        said.readline()  # its process id
        sys.exit(int(said.readline() or 1) % 256)
"""

Commands = Mapping[str, Callable[[], object]]


@contextmanager
def warm_commands(folder: Path) -> Iterator[None]:
    """Start what answers calls, and end it.

    Args:
        folder: for the commands and their socket; made, and of a short name: sockets take about a hundred characters.
    """
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, __file__, str(folder)], env=environment, stdin=subprocess.PIPE):
        yield  # what comes after closes its standard input, and waits


def wait_until_warm(folder: Path, seconds: float = 120) -> None:
    """Wait until calls are answered."""
    deadline = time.monotonic() + seconds
    while not folder.is_dir():
        assert time.monotonic() < deadline, "the warm commands did not start"
        time.sleep(0.05)


class Forked:
    """A call of a warm command from a test, with what the tests use of `subprocess.Popen`; what it prints is dropped.

    It ends with this object, at the latest.
    """

    def __init__(self, folder: Path, name: str, *arguments: object) -> None:
        self.returncode: int | None = None
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(str(folder / SOCKET))
        with open(os.devnull, "r+") as nothing:
            socket.send_fds(self._server, [b"0"], [nothing.fileno(), nothing.fileno(), self._stderr.fileno()])
        call = [name, [*map(str, arguments)], os.getcwd(), dict(os.environ)]
        self._server.sendall(json.dumps(call).encode() + b"\n")
        self._said = self._server.makefile()
        self.pid = int(self._said.readline())

    def poll(self) -> int | None:
        """How it ended, as `Popen.poll` says it; None: it runs."""
        if self.returncode is None and connection.wait([self._server], timeout=0):
            self.returncode = int(self._said.readline())
        return self.returncode

    def communicate(self, timeout: float = 120) -> tuple[None, str]:
        """Wait for its end; what it wrote to its standard error."""
        if self.returncode is None and not connection.wait([self._server], timeout):
            raise subprocess.TimeoutExpired("a warm command", timeout)
        self.poll()
        self._stderr.seek(0)
        return None, self._stderr.read()

    def send_signal(self, number: int) -> None:
        """Send a signal to the process that does the work."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def close(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)
        self.communicate()
        self._said.close()
        self._server.close()
        self._stderr.close()


def _serve(folder: Path, commands: Commands) -> None:
    """Answer calls, each in a process of its own, until the standard input ends."""
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir()
    for name in commands:
        command = partial / name
        command.write_text(CALL.format(python=sys.executable, address=str(folder / SOCKET), name=name))
        command.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(partial / SOCKET))
        listener.listen()
        gc.freeze()  # what is imported stays for good, in every fork
        partial.rename(folder)
        while connection.wait([listener, STDIN]) == [listener]:
            caller, _ = listener.accept()
            with caller:
                FORK.Process(target=_answer, args=(caller, commands)).start()


def _answer(caller: socket.socket, commands: Commands) -> None:
    """Run a command in a process of its own and say its exit code; should the caller go first, it goes too."""
    _, streams, _, _ = socket.recv_fds(caller, 1, 3)
    with caller.makefile("rb") as said:
        name, arguments, folder, environment = json.loads(said.readline())
    process = FORK.Process(target=_run, args=(commands[name], [name, *arguments], folder, environment, streams))
    process.start()
    caller.sendall(f"{process.pid}\n".encode())
    for stream in streams:
        os.close(stream)
    if process.sentinel in connection.wait([process.sentinel, caller]):
        process.join()
        with suppress(BrokenPipeError):  # of a caller who has just gone
            caller.sendall(f"{process.exitcode}\n".encode())
    else:
        os.killpg(process.pid, signal.SIGKILL)


def _run(
    command: Callable[[], object], argv: list[str], folder: str, environment: dict[str, str], streams: list[int]
) -> None:
    os.setsid()
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    sys.stdin = os.fdopen(0)  # multiprocessing has closed it
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = argv
    command()


def _run_python() -> None:
    """The command `warm-python [-u] FILE ARGUMENTS`, or `-m MODULE ARGUMENTS`, as `python` has it."""
    sys.argv[:] = [argument for argument in sys.argv[1:2] if argument != "-u"] + sys.argv[2:]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        sys.modules.pop(f"{sys.argv[0]}.__main__", None)  # else it is warned of
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(sys.argv[0]).parent))
        runpy.run_path(sys.argv[0], run_name="__main__")


def _import_all() -> None:
    """Import every module of minorkey but those whose libraries are not installed, and what is read at first use."""
    for module in walk_packages(minorkey.__path__, "minorkey."):
        with suppress(ImportError):
            import_module(module.name)
    label_spaces()
    load_backbone(BackboneOptions(name="builtin"))


if __name__ == "__main__":
    import pytest
    from doc_examples import run_examples
    from torch.distributed.run import main as torchrun

    import minorkey
    from minorkey.cli import main
    from minorkey.labels.space import label_spaces
    from minorkey.models.backbone import load_backbone
    from minorkey.models.options import BackboneOptions

    _import_all()
    os.fsync = lambda _: None  # as in conftest.py
    commands = {
        "minorkey": main,
        "page": run_examples,
        "pytest": pytest.console_main,
        "warm-python": _run_python,
        "torchrun": torchrun,
    }
    _serve(Path(sys.argv[1]), commands)
