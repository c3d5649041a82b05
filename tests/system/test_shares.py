import numpy as np
import pytest

from minorkey.system.processes import deal, in_order


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 5, 16])
@pytest.mark.parametrize("first", [[], [0], [2, 4]])
def test_every_place_is_dealt_once_and_evenly(count, processes, first):
    first = [place for place in first if place < count]
    shares = deal(count, processes, first)
    assert len(shares) == processes
    assert sorted(place for share in shares for place in share) == list(range(count))
    assert set(first) <= set(shares[0])
    lengths = [len(share) for share in shares]
    assert max(lengths) <= max(-(-count // processes), len(first))
    assert max(lengths[1:], default=0) - min(lengths[1:], default=0) <= 1


def test_results_come_back_in_the_order_of_their_places():
    shares = deal(7, 3, first=[5])
    results = [[np.array([place, 10 * place]) for place in share] for share in shares]
    assert np.array_equal(in_order(shares, results), [[place, 10 * place] for place in range(7)])


def test_a_process_may_have_nothing_to_do():
    shares = deal(1, 3)
    assert in_order(shares, [["a" for _ in share] for share in shares]) == ["a"]
