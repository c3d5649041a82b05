"""The batches of a step, and what the processes tell each other before they take it."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from minorkey.data.sample import RawBatch, RawPair
from minorkey.system.processes import gathered_together
from minorkey.tasks.counts import Counts
from minorkey.training.interruption import StopFlag


class Drawn(NamedTuple):
    """What the processes know of a step before they take it."""

    batches: list[RawBatch | RawPair]  # those of this process
    counts: list[Counts]  # of their labelled parts
    everyone: np.ndarray  # (P, A, 2), elements and objects of the A batches of each of the P processes
    stopped: bool  # whether any of them was asked to stop


def draw(
    batches: Iterator[RawBatch | RawPair], accumulate: int, count: Callable[[Any], Counts], stop: StopFlag
) -> Drawn:
    """Fetch the batches of a step, and learn of the other processes' ones: all that is exchanged before it.

    A signal may reach the processes in different steps, and a broken image is met by one of them.

    Args:
        batches: of this process, from this step on.
        accumulate: A, how many are a step.
        count: what the loss on labels is taken over, `Task.counts` of the network.
        stop: nothing is read once it is raised, and what fails meanwhile counts as stopped: the signal may have ended
            the processes that read, too.

    Raises:
        Exception: what reading raised, in one process; the others end.
    """
    drawn: list[RawBatch | RawPair] = []
    counts: list[Counts] = []

    def read() -> list[float]:
        try:
            drawn.extend(() if stop.requested else islice(batches, accumulate))
            counts.extend(count((batch.source if isinstance(batch, RawPair) else batch).labels) for batch in drawn)
        except Exception:
            if not stop.requested:
                raise
        if stop.requested:
            return [1.0] + [0.0] * (2 * accumulate)
        return [0.0, *(number for own in counts for number in own[:2])]

    rows = gathered_together(read, 1 + 2 * accumulate)
    return Drawn(drawn, counts, rows[:, 1:].reshape(len(rows), -1, 2), bool(rows[:, 0].any()))
