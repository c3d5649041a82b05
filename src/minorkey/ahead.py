"""Work done ahead of the one who asks for it: a function over items, in threads, in order, a few at a time.

What reads, computes on the device and writes is three such steps, one around the other:

    read = ahead(read_image, files)
    written = ahead(write, (predict(image) for image in read))

The caller's thread computes; threads read the next images and write the last ones meanwhile.
"""

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = min(4, os.cpu_count() or 1)
"""Of one step. What they do leaves Python's lock, mostly; more of them only hold more images in memory."""


def ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int = THREADS) -> Iterator[Result]:
    """The results of a function for each item, in order, while threads work on up to twice as many items as they are.

    An item is taken in the caller's thread. Once an error is raised, here or by the caller, what has begun is
    finished, the rest is not begun.

    Raises:
        Exception: what the function raised, in the place of its result.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="minorkey")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * threads:
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
