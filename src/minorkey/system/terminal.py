"""Standard output and error that outlast the terminal, pipe or disk behind them: work goes on when nobody listens."""

import io
import os
import select
import sys
from contextlib import suppress
from typing import IO

NAMES = ("stdout", "stderr")


class _Lasting(io.FileIO):
    """A file descriptor that is written to for as long as that works; what comes afterwards is lost."""

    def write(self, content: object) -> int:
        """Write, or lose the content where the other end is gone (EPIPE, EIO) or full (ENOSPC)."""
        with suppress(OSError):
            while (written := super().write(content)) is None:  # type: ignore[arg-type]
                select.select([], [self.fileno()], [])  # set not to block, as some terminals are
            return written
        return memoryview(content).nbytes  # type: ignore[arg-type]


def outlast_the_terminal() -> None:
    """Let what this process prints never fail; a stream that was closed from the start, or has no text, is replaced."""
    _open_the_first_three()
    for number, name in enumerate(NAMES, start=1):
        stream = getattr(sys, name)
        if stream is None or stream is getattr(sys, f"__{name}__"):  # not that of a test, or of whoever calls `main`
            setattr(sys, name, _lasting(number, stream))


def lasting_error() -> IO[str] | None:
    """Standard error that never fails, for a console; None: what stands there is someone's own."""
    with suppress(OSError, ValueError):
        if sys.stderr is sys.__stderr__ and sys.stderr is not None:
            return _lasting(2, sys.stderr)
    return None


def _lasting(number: int, stream: IO[str] | None) -> io.TextIOWrapper:
    with suppress(OSError, ValueError, AttributeError):
        stream.flush()  # type: ignore[union-attr]
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(number, "w", closefd=False)),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=number == 2 or getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )


def _open_the_first_three() -> None:
    """Give the numbers 0 to 2 to nothing, where they are closed: the next file to be opened would be printed into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
