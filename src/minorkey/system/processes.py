"""The processes that work on one run together: who speaks, what they agree on, how they end.

Everything here goes through a group of its own on the CPU, so that waiting neither stalls a GPU nor runs into its
time limit, however long the main process writes or another one judges. With one process nothing is exchanged.
"""

import atexit
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from rich.console import Console

from minorkey.errors import MinorkeyError, TrainingError
from minorkey.system.console import PlainConsole
from minorkey.system.reduction import process_count
from minorkey.system.terminal import lasting_error

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long a process waits for the others; one that dies is noticed at once, by its closed connection."""

LAST_WORDS = timedelta(seconds=30)
"""How long the others wait for the end of one that failed."""

GRACE = 3.0
"""Seconds to be ended by the launcher before complaining about a process that is gone."""


def process_index() -> int:
    """The place of this process among them."""
    return dist.get_rank() if process_count() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return process_index() == 0


def speaker(console: Console | None) -> Console:
    """The console of the main process (standard error by default), and a silent one in the others."""
    return console or PlainConsole(file=lasting_error(), stderr=True) if is_main() else PlainConsole(quiet=True)


def gathered(values: Sequence[float]) -> np.ndarray:
    """The numbers of all processes, float64 `(processes, n)`; all give as many."""
    mine = torch.tensor(values, dtype=torch.float64)
    if process_count() == 1:
        return mine[None].numpy()
    theirs = [torch.empty_like(mine) for _ in range(process_count())]
    with _reached():
        dist.all_gather(theirs, mine, group=_group())
    return torch.stack(theirs).numpy()


def gathered_objects(value: T) -> list[T]:
    """The values of all processes, in their order."""
    if process_count() == 1:
        return [value]
    theirs: list[Any] = [None] * process_count()
    with _reached():
        dist.all_gather_object(theirs, value, group=_group())
    return theirs


def from_main(make: Callable[[], T]) -> T:
    """What `make` returns in the main process, which alone calls it, in every process.

    An error there ends all processes, as in `together`.
    """
    made: list[T | None] = [None]
    with together():
        if is_main():
            made[0] = make()
    if process_count() > 1:
        with _reached():
            dist.broadcast_object_list(made, src=0, group=_group())
    return made[0]  # type: ignore[return-value]


def deal(count: int, processes: int, first: Collection[int] = ()) -> list[list[int]]:
    """Places 0 to `count` - 1 as one ascending list per process, as even as can be.

    Args:
        count: how many places there are.
        processes: how many processes there are.
        first: places that must be with process 0.

    >>> deal(5, 2, first=[4])
    [[1, 3, 4], [0, 2]]
    """
    fixed = set(first)
    shares = [sorted(fixed), *([] for _ in range(processes - 1))]
    for place in range(count):
        if place not in fixed:
            min(shares, key=len).append(place)
    return [sorted(share) for share in shares]


def in_order(shares: Sequence[Sequence[int]], results: Sequence[Sequence[T]]) -> list[T]:
    """The results of every process, n_p for a share of n_p places, as one list by place."""
    placed = zip(chain.from_iterable(shares), chain.from_iterable(results), strict=True)
    return [result for _, result in sorted(placed, key=lambda pair: pair[0])]


@contextmanager
def together() -> Iterator[None]:
    """Do a piece of work in every process; where it fails in one, all of them end.

    The first process that failed raises its error; the others end silently with its exit code, so that one line
    is printed. Inside, nothing may be exchanged between processes: one that failed would be waited for.
    """
    if process_count() == 1:
        yield
        return
    error = None
    try:
        yield
    except Exception as raised:
        error = raised
    _end_if_one_failed(gathered([_exit_code(error)])[:, 0], error)


def gathered_together(make: Callable[[], Sequence[float]], count: int) -> np.ndarray:
    """What `make` returns in every process, `count` numbers each: float64 `(processes, count)`, by one exchange.

    An error there ends all processes, as in `together`.
    """
    if process_count() == 1:
        return gathered(make())
    values: Sequence[float] = [0.0] * count
    error = None
    try:
        values = make()
    except Exception as raised:
        error = raised
    rows = gathered([_exit_code(error), *values])
    _end_if_one_failed(rows[:, 0], error)
    return rows[:, 1:]


def _end_if_one_failed(codes: np.ndarray, error: Exception | None) -> None:
    """Go on where the exit codes of all processes are 0; `error` is that of this one."""
    failed = np.flatnonzero(codes)
    if failed.size and error is not None and process_index() == failed[0]:
        if isinstance(error, MinorkeyError):
            error.alone = True
        raise error
    if failed.size:
        _wait_for_the_end_of_another()
        raise SystemExit(int(codes[failed[0]]))


def _exit_code(error: Exception | None) -> int:
    if error is None:
        return 0
    return error.exit_code if isinstance(error, MinorkeyError) else 1


def _wait_for_the_end_of_another() -> None:
    """Let the process that failed have its say: a launcher ends all of them as soon as one has ended."""
    with suppress(RuntimeError):
        dist.barrier(group=_group(), async_op=True).wait(LAST_WORDS)


@cache
def _group() -> dist.ProcessGroup:
    atexit.register(_take_leave)
    return dist.new_group(backend="gloo", timeout=PATIENCE)


def _take_leave() -> None:
    """End the connections while the interpreter is whole.

    A thread of gloo that lets go of its last tensor afterwards aborts the process (pytorch/pytorch#179291), and a
    script that trained well would end with a failure.
    """
    _group.cache_clear()
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _reached() -> Iterator[None]:
    """Turn the loss of another process into an end: one line of the main process, silence of the others."""
    try:
        yield
    except RuntimeError as error:
        time.sleep(GRACE)  # if it has said what the matter was, the launcher ends this process meanwhile
        if not is_main():
            raise SystemExit(TrainingError.exit_code) from error
        raise TrainingError(
            "another process of this run has ended without a word; see above, or the system's log, for what killed "
            "it, and start the same command again"
        ) from error
