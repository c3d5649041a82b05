"""Pseudo-labels of whole images: as those of pixels, with one label each."""

import pytest
import torch
from torch import nn

from minorkey.data.sample import Batch, Pair
from minorkey.tasks.class_labels import ClassLabeller, ClassSelfTrainingOptions

SCORES = torch.tensor([[4.0, 0.0, 0.0], [1.0, 0.9, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 3.0]])
"""Of two sure images, the first and the last, and two others."""


class Labeller(ClassLabeller):
    def views(self):
        return {}


def _labeller(**options) -> ClassLabeller:
    chosen = ClassSelfTrainingOptions(**{"threshold": 0.8, **options})
    return Labeller(lambda network, images: network(images.mean((2, 3))).softmax(1), chosen, classes=3)


@pytest.fixture
def pair() -> Pair:
    images = SCORES[..., None, None].expand(-1, -1, 8, 8)
    filled = torch.ones(4, 8, 8, dtype=torch.bool)
    source, target = (
        Batch(images, labels, [""] * 4, [""] * 4, clean=images, filled=filled)
        for labels in (torch.tensor([0, 0, 1, 2]), None)
    )
    return Pair(source, target)


@pytest.mark.parametrize(
    ("unsure", "weights"),
    [("weigh", [1.0, 0.0, 0.0, 1.0]), ("drop", [1.0, 0.0, 0.0, 1.0]), ("keep", [1.0] * 4)],
)
def test_what_becomes_of_unsure_images(pair, unsure, weights):
    labeller = _labeller(unsure=unsure)
    pseudo = labeller.label(nn.Identity(), pair)
    assert pseudo.kept.tolist() == [True, False, False, True]
    assert labeller.weights(pseudo).tolist() == weights


def test_signals_by_hand(pair):
    labeller = _labeller()
    signals = labeller.signals(labeller.label(nn.Identity(), pair), pair)
    assert float(signals["kept"]) == 0.5
    assert float(signals["confidence"]) == pytest.approx(float(SCORES.softmax(1).amax(1).mean()))
    assert signals["pseudo_classes"].tolist() == signals["source_classes"].tolist() == [0.5, 0.25, 0.25]


def test_a_class_that_is_confused_with_a_surer_one_is_kept_by_balance(pair):
    """The second image has nearly as much of the second class, of which the teacher is less sure elsewhere."""
    plain, balanced = _labeller(), _labeller(balance="confidence")
    found = [labeller.label(nn.Identity(), pair).labels.tolist() for labeller in (plain, balanced)]
    assert found == [[0, 0, 1, 2], [0, 1, 1, 2]]
    assert {name.partition(".")[0] for name in balanced.state_dict()} == {"balance"}
