"""Commands without their start, for tests that call them often.

Importing torch and transformers, and reading tables at first use, takes longer than most of what an example asks for.
Here one process does both, and each call is a fork of it, with the arguments, folder, environment and streams of the
one who called, and ends with it.

    python warm_commands.py FOLDER     # until its standard input ends; a line says when it is ready
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import connection, get_context
from pathlib import Path
from pkgutil import walk_packages

FORK = get_context("fork")
STDIN = 0

CALL = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"0"], [0, 1, 2])
    server.sendall(json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\\n")
    sys.exit(int(server.recv(16) or 1))
"""

Commands = Mapping[str, Callable[[], object]]


@contextmanager
def warm_commands(folder: Path) -> Iterator[Path]:
    """A folder with `minorkey` and `page` in it, which start at once.

    Args:
        folder: for the commands and their socket; made, and of a short name: sockets take about a hundred characters.
    """
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, __file__, str(folder)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with server:  # leaving it closes the streams, and waits
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield folder


def _serve(folder: Path, commands: Commands) -> None:
    """Answer calls, each in a process of its own, until the standard input ends."""
    folder.mkdir()
    address = folder / "socket"
    for name in commands:
        command = folder / name
        command.write_text(CALL.format(python=sys.executable, address=str(address), name=name))
        command.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        gc.freeze()  # what is imported stays for good, in every fork
        print("ready", flush=True)
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
    for stream in streams:
        os.close(stream)
    if process.sentinel in connection.wait([process.sentinel, caller]):
        process.join()
        caller.sendall(str(process.exitcode % 256).encode())
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


def _import_all() -> None:
    """Import every module of minorkey but those whose libraries are not installed, and what is read at first use."""
    for module in walk_packages(minorkey.__path__, "minorkey."):
        with suppress(ImportError):
            import_module(module.name)
    label_spaces()
    load_backbone(BackboneOptions(name="builtin"))


if __name__ == "__main__":
    from doc_examples import run_examples

    import minorkey
    from minorkey.cli import main
    from minorkey.labels.space import label_spaces
    from minorkey.models.backbone import load_backbone
    from minorkey.models.options import BackboneOptions

    _import_all()
    _serve(Path(sys.argv[1]), {"minorkey": main, "page": run_examples})
