"""The command `minorkey` without its start, for tests that call it often.

Importing torch and transformers takes longer than most of what an example asks for. Here one process imports them, and
each command is a fork of it, with the arguments, folder, environment and streams of the one who called.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

FORK = get_context("fork")

CALL = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"0"], [0, 1, 2])
    server.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(16)))
"""


@contextmanager
def warm_command(folder: Path) -> Iterator[Path]:
    """A folder with a `minorkey` in it that starts at once. To be entered before this process has threads.

    Args:
        folder: for the command and its socket; made, and of a short name: sockets take about a hundred characters.
    """
    folder.mkdir()
    address, command = folder / "socket", folder / "minorkey"
    command.write_text(CALL.format(python=sys.executable, address=str(address)))
    command.chmod(0o700)
    import minorkey.cli
    import minorkey.runs.train  # noqa: F401

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        server = FORK.Process(target=_serve, args=(listener,))
        server.start()
    try:
        yield folder
    finally:
        server.terminate()
        server.join()


def _serve(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            FORK.Process(target=_answer, args=(connection,)).start()


def _answer(connection: socket.socket) -> None:
    """Run one command in a process of its own, and say its exit code."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as said:
        arguments, folder, environment = json.loads(said.read())
    process = FORK.Process(target=_run, args=(arguments, folder, environment, streams))
    process.start()
    process.join()
    connection.sendall(str(process.exitcode % 256).encode())


def _run(arguments: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> None:
    from minorkey.cli import main

    for place, stream in enumerate(streams):
        os.dup2(stream, place)
    sys.stdin = os.fdopen(0)  # multiprocessing has closed it
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["minorkey", *arguments]
    main()
