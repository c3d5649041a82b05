"""The product in a process of its own: forked from one that has imported it all, so that a call costs milliseconds."""

import ctypes
import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from fault_trials.watch import Watch

MEMORY = 6 << 30
"""Bytes of address space that a call may take beyond those it began with; the system refuses more."""

SECONDS = 100.0
"""After which a call is said to hang: far more than any takes, for the machine may be shared."""

PARENT_DEATH_SIGNAL = 1
"""Of prctl(2)."""

HUNG = -1000
"""The exit code of what had to be ended because its time was up."""


@dataclass(frozen=True)
class End:
    """What came of a call."""

    code: int  # exit code; minus a signal; HUNG
    out: str
    err: str
    peak: int = 0  # bytes of memory, at most
    seen: list[str] = field(default_factory=list)  # what the watch noted

    @property
    def last(self) -> str:
        """The last line of standard error."""
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def text(self) -> str:
        """All that was printed."""
        return self.out + self.err


class Call:
    """A call that has begun: `minorkey ARGUMENTS`, or a function, in the folder `cwd`.

    Args:
        do: arguments of the command line, or what to do in place of it.
        cwd: working folder; streams are kept in files beside it.
        prepare: called in the new process before anything else, e.g. to break something there.
        watch: notes what is written, read and started.
        memory: bytes of address space it may take beyond those it begins with.
    """

    def __init__(
        self,
        do: list[str] | Callable[[], object],
        cwd: Path,
        *,
        prepare: Callable[[], object] = lambda: None,
        watch: Watch | None = None,
        memory: int = MEMORY,
    ) -> None:
        self.began = monotonic()
        self.streams = [cwd.parent / f".{name}-{os.urandom(4).hex()}" for name in ("out", "err", "seen")]
        self.watch = watch
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(do, cwd, prepare, memory)
        self._ended = os.pidfd_open(self.pid)

    def wait(self, seconds: float = SECONDS) -> End:
        """Its end; it is ended where it takes longer."""
        hung = not self.ends_within(seconds)
        self.kill()
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self._ended)
        out, err, seen = (file.read_text(errors="replace") if file.is_file() else "" for file in self.streams)
        for file in self.streams:
            file.unlink(missing_ok=True)
        code = HUNG if hung else os.waitstatus_to_exitcode(status)
        return End(code, out, err, usage.ru_maxrss << 10, seen.splitlines())

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends within some seconds from its begin."""
        left = max(0.0, self.began + seconds - monotonic())
        return bool(select.select([self._ended], [], [], left)[0])

    def running(self) -> bool:
        """Whether it has not ended."""
        return not select.select([self._ended], [], [], 0)[0]

    def send(self, number: int) -> None:
        """Send it a signal, not its own children."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it and all that it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _run(self, do: list[str] | Callable[[], object], cwd: Path, prepare: Callable[[], object], memory: int) -> None:
        code = 1
        try:
            os.setsid()
            _renew_threads()
            ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)  # nothing outlives an interrupted campaign
            os.chdir(cwd)
            sys.dont_write_bytecode = True
            _redirect(self.streams)
            _use_home(cwd.parent)
            own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (own + memory, resource.RLIM_INFINITY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if self.watch:
                self.watch.begin(self.streams[2])
            prepare()
            code = command_line(do) if isinstance(do, list) else _call(do)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(max(code, _flushed()))


def run(do: list[str] | Callable[[], object], cwd: Path, *, seconds: float = SECONDS, **options: object) -> End:
    """Call and wait."""
    return Call(do, cwd, **options).wait(seconds)  # type: ignore[arg-type]


def _renew_threads() -> None:
    """Let torch make its threads anew while there is one thread to ask for it: two at once find none."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(torch.get_num_threads())


def _flushed() -> int:
    """0, or the exit code of Python where what was printed last cannot be written."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:
        return 120
    return 0


def _redirect(streams: list[Path]) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, file in ((1, streams[0]), (2, streams[1])):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def _use_home(place: Path) -> None:
    """Everything that libraries keep for themselves goes to a home of the trial's own."""
    import tempfile

    for name in ("home", "tmp"):
        (place / name).mkdir(exist_ok=True)
    os.environ |= {"HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), "COLUMNS": "200"}
    tempfile.tempdir = None


def command_line(arguments: list[str]) -> int:
    """The exit code of `minorkey ARGUMENTS` in this process."""
    from minorkey.cli import main

    sys.argv = ["minorkey", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _call(do: Callable[[], object]) -> int:
    """As the command line ends: 2 and one line for an error of ours, a traceback and 1 for any other."""
    from minorkey.errors import MinorkeyError

    try:
        do()
    except MinorkeyError as error:
        print(f"minorkey: {error}", file=sys.stderr)
        return 2
    return 0
