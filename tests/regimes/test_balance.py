"""Balanced pseudo-labels, against loops over pixels."""

import pytest
import torch

from minorkey.labels import IGNORE_INDEX
from minorkey.tasks.balance import (
    BALANCES,
    LEAST_SHARE,
    MOMENTUM,
    ConfidenceBalance,
    PriorBalance,
    balanced,
)
from minorkey.tasks.pseudo_labels import pseudo_labels

CLASSES = 4


def _probabilities(seed: int) -> torch.Tensor:
    """The last class is never the likeliest."""
    logits = 2 * torch.randn(2, CLASSES, 5, 6, generator=torch.Generator().manual_seed(seed))
    logits[:, -1] -= 20
    return logits.softmax(1)


def _source(seed: int) -> torch.Tensor:
    labels = torch.randint(0, CLASSES, (2, 5, 6), generator=torch.Generator().manual_seed(seed))
    return labels.where(labels > 0, IGNORE_INDEX)


def _filled() -> torch.Tensor:
    filled = torch.ones(2, 5, 6, dtype=torch.bool)
    filled[0, 3:] = False
    return filled


def _confidences(probabilities, filled, confidence) -> dict[int, float]:
    """Mean probability of every class where it is the likeliest over its confidence."""
    said: dict[int, list[float]] = {}
    for b, y, x in filled.nonzero().tolist():
        pixel = probabilities[b, :, y, x].tolist()
        best = max(range(CLASSES), key=lambda k: pixel[k] / confidence[k])
        said.setdefault(best, []).append(pixel[best])
    return {k: sum(values) / len(values) for k, values in said.items()}


def test_the_running_confidence_by_hand():
    balance, confidence = ConfidenceBalance(CLASSES), [1.0] * CLASSES
    for seed in range(3):
        probabilities = _probabilities(seed)
        for k, mean in _confidences(probabilities, _filled(), confidence).items():
            confidence[k] = mean if confidence[k] == 1 else MOMENTUM * confidence[k] + (1 - MOMENTUM) * mean
        factors = balance.factors(probabilities, _filled(), _source(seed))
        assert factors.tolist() == pytest.approx([1 / value for value in confidence])
    assert confidence[-1] == 1


def test_the_running_prior_by_hand():
    balance, source, target = PriorBalance(CLASSES), None, None
    for seed in range(3):
        probabilities, labels = _probabilities(seed), _source(seed)
        pixels = [probabilities[b, :, y, x].tolist() for b, y, x in _filled().nonzero().tolist()]
        labelled = [label for label in labels.flatten().tolist() if label != IGNORE_INDEX]
        seen = [sum(pixel[k] for pixel in pixels) / len(pixels) for k in range(CLASSES)]
        found = [labelled.count(k) / len(labelled) for k in range(CLASSES)]
        source = (
            found if source is None else [MOMENTUM * a + (1 - MOMENTUM) * b for a, b in zip(source, found, strict=True)]
        )
        target = (
            seen if target is None else [MOMENTUM * a + (1 - MOMENTUM) * b for a, b in zip(target, seen, strict=True)]
        )
        factors = balance.factors(probabilities, _filled(), labels)
        expected = [(a + LEAST_SHARE) / (b + LEAST_SHARE) for a, b in zip(source, target, strict=True)]
        assert factors.tolist() == pytest.approx(expected, rel=1e-5)
    assert factors[0] < 0.1  # the source never shows the first class
    assert factors[-1] > 10  # nor does the teacher see the last


def test_a_class_that_is_always_second_is_said_in_the_end():
    """Plain pseudo-labels of these pixels are of the first class alone."""
    sure, unsure = torch.tensor([0.95, 0.05]), torch.tensor([0.55, 0.45])
    pixels = torch.stack([sure] * 6 + [unsure] * 4).T.reshape(1, 2, 1, 10)
    filled, labels = torch.ones(1, 1, 10, dtype=torch.bool), torch.tensor([0] * 6 + [1] * 4).view(1, 1, 10)
    assert (pseudo_labels(pixels).labels == 0).all()
    confidence, prior = ConfidenceBalance(2), PriorBalance(2)
    confidence.confidence.copy_(torch.tensor([0.9, 0.5]))
    for balance in (confidence, prior):
        factors = balance.factors(pixels, filled, labels)
        assert torch.equal(pseudo_labels(balanced(pixels, factors)).labels, labels)


@pytest.mark.parametrize("name", BALANCES)
def test_where_nothing_is_seen_nothing_changes(name):
    balance, nowhere = BALANCES[name](CLASSES), torch.zeros(2, 5, 6, dtype=torch.bool)
    factors = balance.factors(_probabilities(0), nowhere, torch.full((2, 5, 6), IGNORE_INDEX))
    assert factors.tolist() == [1.0] * CLASSES


def test_balanced_probabilities_sum_to_one():
    probabilities, factors = _probabilities(0), torch.tensor([0.5, 1.0, 2.0, 4.0])
    expected = torch.stack([probabilities[:, k] * factors[k] for k in range(CLASSES)], 1)
    torch.testing.assert_close(balanced(probabilities, factors), expected / expected.sum(1, keepdim=True))
