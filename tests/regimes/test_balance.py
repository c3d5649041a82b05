"""Class-balanced pseudo-labels, against loops over pixels."""

import pytest
import torch

from minorkey.data.sample import IGNORE_INDEX
from minorkey.regimes.balance import MOMENTUM, ClassBalance, balanced
from minorkey.regimes.pseudo_labels import pseudo_labels

CLASSES = 4


def _probabilities(seed: int) -> torch.Tensor:
    """The last class is never the likeliest."""
    logits = 2 * torch.randn(2, CLASSES, 5, 6, generator=torch.Generator().manual_seed(seed))
    logits[:, -1] -= 20
    return logits.softmax(1)


def _means(probabilities, filled, confidence) -> dict[int, float]:
    """Mean probability of every class where it is the likeliest over its confidence."""
    said: dict[int, list[float]] = {}
    for b, y, x in filled.nonzero().tolist():
        pixel = probabilities[b, :, y, x].tolist()
        best = max(range(CLASSES), key=lambda k: pixel[k] / confidence[k])
        said.setdefault(best, []).append(pixel[best])
    return {k: sum(values) / len(values) for k, values in said.items()}


def test_the_running_confidence_by_hand():
    balance, confidence = ClassBalance(CLASSES), [1.0] * CLASSES
    filled = torch.ones(2, 5, 6, dtype=torch.bool)
    filled[0, 3:] = False
    for seed in range(3):
        probabilities = _probabilities(seed)
        for k, mean in _means(probabilities, filled, confidence).items():
            confidence[k] = mean if confidence[k] == 1 else MOMENTUM * confidence[k] + (1 - MOMENTUM) * mean
        found = balance(probabilities, filled)
        assert balance.confidence.tolist() == pytest.approx(confidence)
        expected = probabilities / torch.tensor(confidence).view(1, -1, 1, 1)
        torch.testing.assert_close(found, expected / expected.sum(1, keepdim=True))
    assert confidence[-1] == 1


def test_a_class_that_is_always_second_is_said_in_the_end():
    """Plain pseudo-labels of these two classes are of the first alone."""
    unsure = torch.tensor([0.55, 0.45])
    sure = torch.tensor([0.95, 0.05])
    pixels = torch.stack([sure] * 6 + [unsure] * 4).T.reshape(1, 2, 1, 10)
    filled = torch.ones(1, 1, 10, dtype=torch.bool)
    assert (pseudo_labels(pixels).labels == 0).all()
    assert pseudo_labels(balanced(pixels, torch.tensor([0.79, 0.45]))).labels.flatten().tolist() == [0] * 6 + [1] * 4
    balance = ClassBalance(2)
    balance.confidence.copy_(torch.tensor([0.9, 0.5]))
    labels = pseudo_labels(balance(pixels, filled)).labels.flatten().tolist()
    assert labels == [0] * 6 + [1] * 4


def test_where_there_is_no_image_nothing_counts():
    balance, nowhere = ClassBalance(CLASSES), torch.zeros(2, 5, 6, dtype=torch.bool)
    assert (pseudo_labels(balance(_probabilities(0), nowhere), filled=nowhere).labels == IGNORE_INDEX).all()
    assert balance.confidence.tolist() == [1.0] * CLASSES
