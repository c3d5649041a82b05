from collections import Counter

import pytest

from minorkey.data.plan import StepPlan
from minorkey.errors import ConfigError


def drawn(plan: StepPlan, steps: range) -> list[tuple[int, int]]:
    return [place for step in steps for place in plan.indices(step)]


def test_every_epoch_sees_every_sample_once_in_a_fresh_order():
    plan = StepPlan((12,), batch_size=4, seed=0)
    epochs = [[index for _, index in drawn(plan, range(first, first + 3))] for first in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_no_replacement_within_each_of_several_data_sets():
    plan = StepPlan((7, 30), batch_size=5, seed=1, weights=(1, 1))
    places = drawn(plan, range(600))  # passes the end of a cycle of 1000
    for dataset, length in enumerate(plan.lengths):
        indices = [index for which, index in places if which == dataset]
        for start in range(0, len(indices) - length, length):
            assert sorted(indices[start : start + length]) == list(range(length))


@pytest.mark.parametrize(("weights", "share"), [(None, 0.9), ((1.0, 3.0), 0.25), ((1, 1), 0.5)])
def test_shares_of_the_data_sets(weights, share):
    plan = StepPlan((90, 10), batch_size=8, seed=2, weights=weights)
    counts = Counter(dataset for dataset, _ in drawn(plan, range(125)))
    assert counts[0] == pytest.approx(1000 * share)


def test_small_data_set_is_never_left_out():
    counts = Counter(dataset for dataset, _ in drawn(StepPlan((100_000, 3), 8, seed=0), range(126)))
    assert counts[1] >= 1


def test_order_depends_on_seed_and_step_only():
    plan = StepPlan((50, 20), batch_size=6, seed=3)
    assert plan.indices(40) == StepPlan((50, 20), batch_size=6, seed=3).indices(40)
    assert plan.indices(40) != StepPlan((50, 20), batch_size=6, seed=4).indices(40)


def test_batch_size_does_not_change_the_order():
    small, large = (StepPlan((50, 20), batch_size=size, seed=3) for size in (3, 6))
    assert drawn(small, range(10)) == drawn(large, range(5))


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, -2.0)])
def test_wrong_weights(weights):
    with pytest.raises(ConfigError, match=r"weights \[.*\] for 2 data sets: give each one above 0"):
        StepPlan((5, 5), batch_size=2, seed=0, weights=weights)
