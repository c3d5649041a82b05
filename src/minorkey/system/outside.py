"""Parts that are not of this package: who may name them, and which of them failed.

An outside name imports and runs what it names. From the user (a call, the command line, a preset of his) it is taken;
from a file that came with a run or a data set (`written_by_others`) it is refused until the user allows it.
"""

import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from minorkey.errors import ConfigError, MinorkeyError, OutsideError

OUTSIDE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""`package.module:attribute`."""

_file: ContextVar[str | None] = ContextVar("file of someone else's that is being read", default=None)
_allowed: ContextVar[bool] = ContextVar("whether such files may name outside parts", default=False)
_taken: set[str] = set()  # outside names that the user gave or allowed in this process
_modules: dict[str, str] = {}  # module -> the outside part that was asked of it, as messages call it


@contextmanager
def written_by_others(file: str | Path) -> Iterator[None]:
    """While the content of this file is checked: its outside names are refused, but for those the user gave himself."""
    token = _file.set(str(file))
    try:
        yield
    finally:
        _file.reset(token)


@contextmanager
def outside_allowed(allowed: bool = True) -> Iterator[None]:
    """Take outside names from files of others as well; False changes nothing."""
    token = _allowed.set(allowed or _allowed.get())
    try:
        yield
    finally:
        _allowed.reset(token)


def given_by_user(names: Iterable[str]) -> None:
    """Note those that are outside names among what the user gave, e.g. beside a run's configuration."""
    _taken.update(name for name in names if OUTSIDE.fullmatch(name))


def admit(name: str, called: str) -> None:
    """Take an outside name, `called` e.g. "head 'mine.heads:Wide'" in messages, before anything of it is imported.

    Raises:
        ConfigError: it stands in a file of someone else's.
    """
    if _file.get() is not None and name not in _taken and not _allowed.get():
        raise ConfigError(
            f"{_file.get()} names {called}, which is code that is not minorkey's; if you trust it, allow it with "
            "--allow-outside or, in a call, allow_outside=True"
        )
    _taken.add(name)
    _modules[name.partition(":")[0]] = called


@contextmanager
def outside_faults() -> Iterator[None]:
    """Errors of outside parts become an `OutsideError`, which names the part; others stay as they are."""
    try:
        yield
    except MinorkeyError:
        raise
    except Exception as error:
        if (fault := blamed(error)) is None:
            raise
        raise fault from error


def blamed(error: Exception) -> OutsideError | None:
    """What to say of the innermost outside part that was at work when an error was raised; None: there was none.

    It is found by the modules of the frames, so that no part needs a wrapper.
    """
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if called := _modules.get(frame.f_globals.get("__name__", "")):
            place = f"{Path(frame.f_code.co_filename).name}, line {line}"
            return OutsideError(f"{called} failed: {reason(error)} ({place}); --debug shows its traceback")
    return None


def note_cause(error: Exception) -> None:
    """Note on an error of an outside part how it came about, for another process, which gets no traceback with it."""
    if isinstance(error, OutsideError) and error.__cause__ is not None:
        error.add_note("".join(traceback.format_exception(error.__cause__)))


def reason(error: Exception) -> str:
    """An error in one line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
