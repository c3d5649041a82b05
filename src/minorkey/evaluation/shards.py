"""How the images to judge are shared out among processes, and the results put back in order."""

from collections.abc import Collection, Sequence
from itertools import chain
from typing import TypeVar

Result = TypeVar("Result")


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


def in_order(shares: Sequence[Sequence[int]], results: Sequence[Sequence[Result]]) -> list[Result]:
    """The results of every process, n_p for a share of n_p places, as one list by place."""
    placed = zip(chain.from_iterable(shares), chain.from_iterable(results), strict=True)
    return [result for _, result in sorted(placed, key=lambda pair: pair[0])]
