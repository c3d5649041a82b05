from pathlib import Path

import numpy as np
import pytest
import torch

from minorkey.labels import IGNORE_INDEX
from minorkey.regimes.health import collapse_warning, collapsed_class, vanished_classes, vanished_warning
from minorkey.tasks.pseudo_labels import PseudoLabels, agreement, class_shares, health_signals

STREET = [0.37, 0.06, 0.23, 0.01, 0.01, 0.16, 0.04, 0.12]  # a road, then walls, plants, sky and little else


def test_agreement_leaves_out_what_either_does_not_say():
    student = torch.tensor([[[0, 1, 2, IGNORE_INDEX]]])
    teacher = torch.tensor([[[0, 2, IGNORE_INDEX, 3]]])
    assert agreement(student, teacher) == 0.5
    assert agreement(student, student) == 1
    assert agreement(torch.full((1, 2, 2), IGNORE_INDEX), torch.zeros(1, 2, 2)) == 0


def test_class_255_of_many_is_a_class():
    labels = torch.tensor([255, 255, 3])
    pseudo = PseudoLabels(labels, torch.tensor([0.9, 0.6, 0.3]), labels < 300, torch.ones(3))
    signals = health_signals(pseudo, labels, 300)
    assert signals["confidence"] == pytest.approx(0.6)
    assert signals["pseudo_classes"][255] == pytest.approx(2 / 3)
    assert agreement(labels, torch.tensor([255, 3, 3]), 300) == pytest.approx(2 / 3)


def test_class_shares_against_a_histogram():
    labels = np.random.default_rng(0).choice([0, 1, 2, 5, IGNORE_INDEX], (3, 20, 30)).astype(np.uint8)
    counts = np.histogram(labels, bins=np.arange(7))[0]
    shares = class_shares(torch.from_numpy(labels), 6)
    assert torch.allclose(shares.double(), torch.from_numpy(counts / counts.sum()))
    assert torch.equal(shares, class_shares(torch.from_numpy(labels).long(), 6))


def test_class_shares_of_nothing_are_zero():
    assert class_shares(torch.full((2, 4), IGNORE_INDEX), 3).tolist() == [0, 0, 0]
    assert class_shares(torch.zeros(0, 4, dtype=torch.long), 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("swallower", range(len(STREET)))
def test_a_class_that_swallows_the_others_is_found(swallower):
    rest = np.delete(np.arange(len(STREET)), swallower)
    shares = np.zeros(len(STREET))
    shares[swallower], shares[rest] = 0.95, 0.05 / len(rest)
    assert collapsed_class(shares, STREET) == swallower


def test_a_large_class_alone_is_no_collapse():
    dark_sky = [0.3, 0, 0.03, 0, 0, 0.05, 0.02, 0.6]
    assert collapsed_class(STREET, STREET) is None
    assert collapsed_class(dark_sky, STREET) is None
    assert collapsed_class([0.8, *[0.2 / 7] * 7], STREET) is None  # the road may double
    assert collapsed_class([0.5, 0, 0.5, 0, 0, 0, 0, 0], STREET) is None  # two classes share


def test_the_limit_moves_with_the_prior():
    assert collapsed_class([0.0, 0.81, 0.19], [0.5, 0.0, 0.5]) == 1
    assert collapsed_class([0.0, 0.79, 0.21], [0.5, 0.0, 0.5]) is None
    assert collapsed_class([0.88, 0.12], [0.45, 0.55]) is None
    assert collapsed_class([0.90, 0.10], [0.45, 0.55]) == 0
    assert collapsed_class([0.97, 0.03], [0.90, 0.10]) is None
    assert collapsed_class([0.99, 0.01], [0.90, 0.10]) == 0


def test_a_source_of_one_class():
    assert collapsed_class([1.0, 0.0], [1.0, 0.0]) is None
    assert collapsed_class([0.0, 1.0], [1.0, 0.0]) == 1
    assert collapsed_class([1.0], [1.0]) is None


def test_nothing_counted_is_no_collapse():
    assert collapsed_class([0.0, 0.0], [0.5, 0.5]) is None
    assert collapsed_class([1.0, 0.0], [0.0, 0.0]) is None


def test_the_warning_says_what_and_what_to_do():
    text = collapse_warning("road", 0.973, 0.37, Path("run/checkpoints"))
    assert text == (
        "collapse: 'road' is 97.3% of the pseudo-labels (37.0% of the source); lower training.lr, raise the "
        "threshold or make the warm-up longer. The last good checkpoint is kept in 'run/checkpoints'"
    )
    assert collapse_warning("road", 0.973, 0.37, None).endswith("longer. No checkpoint is from before it")


def test_no_sign_makes_the_host_wait():
    labels = torch.empty(2, 7, 9, dtype=torch.long, device="meta")
    assert agreement(labels, labels).shape == ()  # a tensor without values fails where one is asked for
    assert class_shares(labels, 5).shape == (5,)


def test_classes_that_have_vanished():
    source = [0.5, 0.4, 0.04, 0.04, 0.0, 0.009, 0.011]
    pseudo = [0.9, 0.0983, 0.0015, 0.0021, 0.0, 0.0, 0.0]
    assert vanished_classes(pseudo, source) == [2, 6], "the sixth is rare in the source too"
    assert vanished_classes([0.0] * 7, source) == []
    assert vanished_classes(source, source) == []


def test_a_vanished_class_is_named_with_its_shares():
    assert vanished_warning("sidewalk", 0.0004, 0.0221) == (
        "vanished: 'sidewalk' is 0.04% of the pseudo-labels (2.21% of the source); if the target shows it, balance the "
        "classes (self_training.balance, transda.balance) or make the warm-up longer"
    )
