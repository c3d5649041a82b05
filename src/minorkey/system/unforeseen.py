"""Failures that no part of this package foresaw: one line each, and whether the user can mend them."""

import inspect
import re
import traceback
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_type_hints

from minorkey.errors import ConfigError, InternalError, MemoryLimitError, MinorkeyError, StorageError

P = ParamSpec("P")
T = TypeVar("T")

NO_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|Storage size calculation overflowed", re.I
)
"""In what torch raises as `RuntimeError`."""


def one_line_of(error: BaseException) -> MinorkeyError:
    """The error that a user is shown in place of this one: itself, if it was foreseen."""
    if isinstance(error, MinorkeyError):
        return error
    if (limit := beyond_memory(error)) is not None:
        return limit
    if isinstance(error, OSError):
        where = f"{error.filename!r}: " if error.filename else ""
        return StorageError(f"{where}{error.strerror or _first_line(error)}; check the path, its rights and the disk")
    place = _place(error)
    return InternalError(f"{_first_line(error)}{place}; this is a fault of minorkey; --debug shows where it comes from")


def beyond_memory(error: BaseException) -> MemoryLimitError | None:
    """The error of a failed allocation; None: this is none."""
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) and NO_MEMORY.search(str(error))):
        return None
    return MemoryLimitError(
        f"not enough memory ({_first_line(error)}); ask for less: training.batch_size, transform.crop, "
        "evaluation.batch_size, or smaller images"
    )


def public(call: Callable[P, T]) -> Callable[P, T]:
    """A call of the Python API, which raises a `MinorkeyError` for arguments that its signature does not name.

    Raises:
        ConfigError: an argument is of another type.
        MemoryLimitError: what was asked for does not fit into memory.
    """
    signature = inspect.signature(call)

    @wraps(call)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            _check(call, name, value)
        try:
            return call(*args, **kwargs)
        except (MemoryError, RuntimeError) as error:
            if (limit := beyond_memory(error)) is None:
                raise
            raise limit from error

    return checked


def _check(call: Callable[..., Any], name: str, value: Any) -> None:
    from minorkey.system.reading import shown

    expected = _expected(call).get(name)
    if expected is None:
        return
    try:
        if isinstance(expected.validate_python(value), int | float) and isinstance(value, str):
            raise ValueError("a text, though it reads as a number")  # with which the call would go on
    except ValueError as error:  # pydantic's is one
        kind = inspect.signature(call).parameters[name].annotation
        kind = getattr(kind, "__name__", str(kind)).replace("pathlib.", "").replace("collections.abc.", "")
        raise ConfigError(f"{call.__name__}: {name} is {shown(value)}; expected {kind}") from error


@cache
def _expected(call: Callable[..., Any]) -> dict[str, Any]:
    """What checks the arguments of a call, by name; `**overrides` are left to the configuration."""
    from pydantic import ConfigDict, TypeAdapter

    hints = get_type_hints(inspect.unwrap(call))
    named = [p.name for p in inspect.signature(call).parameters.values() if p.kind is not p.VAR_KEYWORD]
    anything = ConfigDict(arbitrary_types_allowed=True)
    return {name: TypeAdapter(hints[name], config=anything) for name in named if name in hints}


def _first_line(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _place(error: BaseException) -> str:
    """Where in this package it was raised, for whoever reports it."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "minorkey" in frame.filename]
    return f" ({Path(ours[-1].filename).name}, line {ours[-1].lineno})" if ours else ""
