import pickle
from collections import Counter

import numpy as np
import pytest

from minorkey.data.loaders import training_loader
from minorkey.data.plan import StepPlan
from minorkey.data.rare_classes import LEAST_IMAGE_SHARE, RareClasses, RareClassPlan, enough_of
from minorkey.data.sample import Sample
from minorkey.data.transforms import TransformConfig
from minorkey.errors import ConfigError, DataError
from minorkey.tasks.segmentation.crops import LEAST_WANTED_SHARE
from minorkey.tasks.segmentation.task import Segmentation

COUNTS = (
    np.array([[900, 100, 0], [1000, 0, 0], [500, 500, 0], [999, 1, 0]]),
    np.array([[1000, 0, 0], [990, 10, 0]]),
)


def drawn(plan, steps=500):
    return [
        (plan.wanted_class(step, slot), *place)
        for step in range(steps)
        for slot, place in enumerate(plan.indices(step))
    ]


def plan_of(counts=COUNTS, temperature=0.5, batch_size=4, seed=7, weights=None):
    return RareClassPlan(RareClasses(counts, temperature), batch_size, seed, weights)


def test_classes_are_drawn_by_their_rarity():
    """DAFormer, equation 10: a softmax of (1 - frequency) over the temperature; what never occurs is left out."""
    places = drawn(plan_of())
    # 4 images of 1000 pixels with 601 of class 1, and 2 with 10.
    exponentials = np.exp((1 - np.array([5389, 611]) / 6000) / 0.5)
    share = Counter(wanted for wanted, *_ in places)
    np.testing.assert_allclose([share[0] / 2000, share[1] / 2000], exponentials / exponentials.sum(), atol=0.03)
    assert share[2] == 0


def test_images_show_the_class_they_were_drawn_for():
    places = drawn(plan_of())
    assert all(COUNTS[dataset][index, wanted] > 1 for wanted, dataset, index in places)  # one pixel is too little
    rare = Counter((dataset, index) for wanted, dataset, index in places if wanted == 1)
    assert rare.keys() == {(0, 0), (0, 2), (1, 1)}
    np.testing.assert_allclose([count / rare.total() for count in rare.values()], [1 / 3] * 3, atol=0.05)


def test_weights_of_the_data_sets():
    """An image has its data set's weight over the number of images there."""
    rare = Counter(dataset for wanted, dataset, _ in drawn(plan_of(weights=(1.0, 3.0))) if wanted == 1)
    assert rare[1] / rare.total() == pytest.approx((3 / 2) / (3 / 2 + 2 * 1 / 4), abs=0.05)
    with pytest.raises(ConfigError, match=r"weights \[1\.0\] for 2 data sets: give each one above 0"):
        plan_of(weights=(1.0,))


def test_enough_or_any():
    shares = np.array([0, 0.5, 1.01, 2]) * LEAST_IMAGE_SHARE
    assert enough_of(shares).tolist() == [2, 3]
    assert enough_of(shares[:2]).tolist() == [1]
    assert enough_of(shares[:1]).tolist() == []


def test_a_draw_depends_on_seed_and_slot_only():
    plan = plan_of()
    assert pickle.loads(pickle.dumps(plan)).indices(40) == plan_of().indices(40) == plan.indices(40)
    assert [plan.indices(step) for step in range(9)] != [plan_of(seed=8).indices(step) for step in range(9)]
    large = plan_of(batch_size=8)
    assert plan.indices(6) + plan.indices(7) == large.indices(3)
    assert [plan.wanted_class(7, slot) for slot in range(4)] == [large.wanted_class(3, 4 + slot) for slot in range(4)]


def test_nothing_labelled():
    with pytest.raises(DataError, match="no class occurs in the labels"):
        plan_of((np.zeros((3, 2), int),))


class CornerReader:
    """Large images of class 0 with a square of class 1 in one corner."""

    name, domain, notes = "corner", "corner", ()

    def __len__(self) -> int:
        return 2

    def key(self, index: int) -> str:
        return str(index)

    def __getitem__(self, index: int) -> Sample:
        labels = np.zeros((80, 80), np.uint8)
        labels[:16, :16] = 1
        return Sample(np.zeros((80, 80, 3), np.uint8), "corner", str(index), labels)


def share_of_crops(rare):
    """Of the crops, those that show enough of class 1."""
    config = TransformConfig(crop=(32, 32), scale_ratios=(2.5,), max_class_share=1.0, photometric=False)
    options = {"batch_size": 4, "steps_from": 0, "steps_to": 60, "seed": 1, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    batches = training_loader(Segmentation(), [CornerReader()], config, rare=rare, **options)
    labels = np.concatenate([batch.labels.numpy() for batch in batches])
    return np.mean((labels == 1).mean(axis=(1, 2)) >= LEAST_WANTED_SHARE)


def test_crops_are_tried_again_until_they_show_the_class():
    """One crop in ten shows enough of the corner by itself; of ten tries, one does two times in three."""
    seen = [(16 - top) * (16 - left) / 32**2 for top in range(16) for left in range(16)]
    chance = sum(share >= LEAST_WANTED_SHARE for share in seen) / 49**2
    assert share_of_crops(None) == pytest.approx(chance, abs=0.06)
    always = RareClasses((np.array([[80 * 80 - 256, 256]] * 2),), temperature=0.01)
    assert share_of_crops(always) == pytest.approx(1 - (1 - chance) ** 10, abs=0.09)


def test_without_rare_classes_nothing_is_wanted():
    assert StepPlan((5,), 2, 0).wanted_class(3, 1) is None
