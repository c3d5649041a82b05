"""Work done ahead of the one who asks for it: a function over items, in threads, in order, a few at a time.

What reads, computes on the device and writes is three such steps, one around the other:

    read = ahead(read_image, files)
    written = ahead(write, (predict(image) for image in read))

The caller's thread computes; threads read the next images and write the last ones meanwhile.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = min(4, os.cpu_count() or 1)
"""Of one step. What they do leaves Python's lock, mostly; more of them only hold more images in memory."""


IN_MEMORY = 2**30
"""Bytes of images that one step may hold, unless it holds a single one."""


class Room:
    """How many images one step may have in memory: fewer as they are larger."""

    def __init__(self) -> None:
        self.largest = 0

    def note(self, image: np.ndarray) -> None:
        """Take in the size of one."""
        self.largest = max(self.largest, image.nbytes)

    def __call__(self) -> int:
        """At least one, and two before the size of any is known."""
        return max(1, min(2 * THREADS, IN_MEMORY // self.largest)) if self.largest else 2


def ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int = THREADS,
    room: Callable[[], int] | None = None,
) -> Generator[Result, None, None]:
    """The results of a function for each item, in order, while threads work on the next ones.

    An item is taken in the caller's thread. Once an error is raised, here or by the caller, what has begun is
    finished, the rest is not begun.

    Args:
        function: called in the threads.
        items: taken as there is room.
        threads: how many.
        room: how many items may have begun, and not been asked for; None: twice as many as threads.

    Raises:
        Exception: what the function raised, in the place of its result.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="minorkey")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            while len(waiting) >= (2 * threads if room is None else room()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def grouped(
    items: Iterable[Item], alike: Callable[[Item], Hashable], most: Callable[[Item], int]
) -> Iterator[list[Item]]:
    """Neighbours that are alike, together.

    Args:
        items: in order.
        alike: items are together only if this is equal.
        most: how many like the given one may be together.

    >>> list(grouped("aaabba", alike=str, most=lambda letter: 2))
    [['a', 'a'], ['a'], ['b', 'b'], ['a']]
    """
    group: list[Item] = []
    for item in items:
        if group and (alike(item) != alike(group[0]) or len(group) >= most(group[0])):
            yield group
            group = []
        group.append(item)
    if group:
        yield group
