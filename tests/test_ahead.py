"""Work ahead of the caller: order, bounds, errors."""

import threading

import numpy as np
import pytest

from minorkey.system.ahead import IN_MEMORY, Room, ahead, grouped


def test_results_come_in_order_and_only_so_far_ahead():
    taken, first = [], threading.Event()

    def items():
        for item in range(20):
            taken.append(item)
            yield item

    def work(item):
        if item == 0:
            first.wait(10)  # the others overtake it
        elif item == 3:
            first.set()
        return 10 * item

    results = ahead(work, items(), threads=2)
    assert next(results) == 0
    assert taken == [0, 1, 2, 3]
    assert list(results) == [10 * item for item in range(1, 20)]


def test_items_are_taken_in_the_callers_thread():
    names = set(ahead(str, (threading.current_thread().name for _ in range(9))))
    assert names == {threading.current_thread().name}


def test_an_error_has_the_place_of_its_result_and_ends_the_rest():
    done = []

    def work(item):
        if item == 2:
            raise ValueError("two")
        done.append(item)
        return item

    results = ahead(work, range(100), threads=1)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert len(done) < 6
    assert list(results) == []


def test_neighbours_that_are_alike():
    groups = grouped("aaabba", alike=str, most=lambda letter: {"a": 2, "b": 9}[letter])
    assert list(groups) == [["a", "a"], ["a"], ["b", "b"], ["a"]]
    assert list(grouped([], alike=str, most=len)) == []


def test_fewer_are_in_memory_the_larger_they_are():
    room = Room()
    assert room() == 2  # nobody knows yet
    room.note(np.empty(IN_MEMORY // 3, dtype=np.uint8))
    assert 1 <= room() <= 3
    room.note(np.empty(2, dtype=np.uint8))  # the largest counts
    assert room() <= 3
    taken: list[int] = []
    results = ahead(str, (taken.append(item) or item for item in range(9)), threads=2, room=lambda: 1)
    assert [next(results), next(results)] == ["0", "1"]
    assert taken == [0, 1]
    assert list(results) == [str(item) for item in range(2, 9)]
