"""Ctrl-C ends a run after the step in progress, so that a whole checkpoint can be saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HANG_UP = getattr(signal, "SIGHUP", None)
"""What a terminal sends as it closes; None: the system has no such signal."""


class StopFlag:
    """True once the user has asked to stop."""

    def __init__(self) -> None:
        self.requested = False

    def __bool__(self) -> bool:
        return self.requested


@contextmanager
def stop_on_interrupt() -> Iterator[StopFlag]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a flag; a second Ctrl-C or SIGTERM interrupts at once.

    A terminal that closes sends SIGHUP, and may send it twice, or SIGTERM after it: that is one wish to end. What
    `nohup` ignores stays ignored. Outside the main thread signals cannot be caught, and the flag never rises.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    asked = False

    def request(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        flag.requested = True
        if signum == HANG_UP:
            return
        if asked:
            raise KeyboardInterrupt
        asked = True

    numbers = [signal.SIGINT, signal.SIGTERM]
    if HANG_UP is not None and signal.getsignal(HANG_UP) is not signal.SIG_IGN:
        numbers.append(HANG_UP)
    previous = {number: signal.signal(number, request) for number in numbers}
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
