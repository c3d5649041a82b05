"""Commands of minorkey beside this process, without their start: forks of a process that has imported what they need.

Importing torch and transformers takes seconds, in a short training as long as the work. The process that takes the
commands does it once, while this one is still busy with its own start. Only Linux's libraries bear to be forked;
elsewhere each command imports for itself.
"""

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from runpy import run_module
from tempfile import TemporaryFile
from typing import IO, Any

FORKS = sys.platform == "linux"

NEEDED = ("minorkey.cli", "minorkey.runs.train")
"""What, with all that it imports, takes nearly all of the start of a training."""

_prepared: "list[Beside]" = []


def prepare() -> None:
    """Let a process import in the background what a command needs; `beside` gives it."""
    _prepared.append(Beside())
    atexit.register(dismiss)  # of a process that ends early


def beside() -> "Beside":
    """A process for commands: one that was prepared, or another."""
    return _prepared.pop() if _prepared else Beside()


def dismiss() -> None:
    """End what was prepared and is not needed."""
    while _prepared:
        with _prepared.pop() as process:
            process.end()


class Beside:
    """A process for commands of minorkey, one at a time. Ctrl-C does not reach them, `end` does.

    As a context it ends with its block; in any case with this process, once the command in progress is done.
    """

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # or Ctrl-C would reach a run twice, and a second one ends it unsaved
        )
        self._running: int | None = None
        self._ending = False

    def __enter__(self) -> "Beside":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def run(self, *arguments: str, threads: int) -> tuple[int, str]:
        """`minorkey ARGUMENTS` in this process's folder and environment; what it prints is dropped, but for errors.

        Args:
            arguments: of the command line.
            threads: of torch.

        Returns:
            Its exit code, and what it wrote to its standard error.
        """
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        call = {"arguments": arguments, "folder": os.getcwd(), "environment": environment, "threads": threads}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with suppress(BrokenPipeError):
            print(json.dumps(call), file=self._server.stdin, flush=True)
        try:
            self._running = int(self._server.stdout.readline())
            if self._ending:  # as it began
                self.end()
            code, errors = json.loads(self._server.stdout.readline())
        except ValueError:  # of a line that is not there
            return 1, "its process was ended"
        finally:
            self._running = None
        return code, errors

    def end(self) -> None:
        """Ask the command in progress to end, a training saves after its step; none is begun any more."""
        self._ending = True
        if self._running is None:
            self._server.terminate()
            return
        with suppress(ProcessLookupError):
            os.kill(self._running, signal.SIGTERM)


def _serve(calls: IO[str]) -> None:
    if FORKS:
        for module in NEEDED:
            import_module(module)
        gc.freeze()  # what is imported stays for good, in every fork
    for line in calls:
        call = json.loads(line)
        with TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            code = _forked(call, errors) if FORKS else _started(call, errors)
            errors.seek(0)
            print(json.dumps([code, errors.read()]), flush=True)


def _started(call: dict[str, Any], errors: IO[str]) -> int:
    command = [sys.executable, "-m", "minorkey", *call["arguments"]]
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=call["folder"], env=call["environment"], stdin=nothing, stdout=nothing, stderr=errors
    )
    print(process.pid, flush=True)
    return process.wait()


def _forked(call: dict[str, Any], errors: IO[str]) -> int:
    if not (child := os.fork()):
        _become(call, errors)
    print(child, flush=True)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become(call: dict[str, Any], errors: IO[str]) -> None:
    """Be the command, in a fork; ends the process."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream, file in enumerate((nothing, nothing, errors.fileno())):
        os.dup2(file, stream)
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.modules["torch"].set_num_threads(call["threads"])
    sys.argv = ["minorkey", *call["arguments"]]
    run_module("minorkey", run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    _serve(sys.stdin)
