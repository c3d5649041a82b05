"""The terms that heads of logits per pixel learn by, against formulas and torchmetrics."""

import pytest
import torch
import torch.nn.functional as F
from torchmetrics.functional.segmentation import dice_score

from minorkey.labels import IGNORE_INDEX
from minorkey.models.heads.segmentation.pixel_loss import PixelLoss, pixel_cross_entropy, pixel_dice

K = 4
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 8.0])


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, K - 1, (2, 9, 7), generator=generator)  # the last class does not occur
    labels[0, :3], labels[1, :, 5:] = IGNORE_INDEX, IGNORE_INDEX
    return torch.randn(2, K, 9, 7, generator=generator, dtype=torch.float64).requires_grad_(), labels


def flat(logits, labels):
    """Probabilities `(N, K)` and classes `(N,)` of the labelled pixels."""
    labelled = labels != IGNORE_INDEX
    return logits.softmax(1).movedim(1, -1)[labelled], labels[labelled]


def test_class_weights_are_those_of_torch_over_the_labelled_pixels(case):
    logits, labels = case
    weights = WEIGHTS.double()
    summed = F.cross_entropy(logits, labels, weight=weights, ignore_index=IGNORE_INDEX, reduction="sum")
    found = pixel_cross_entropy(logits, labels, class_weights=weights)
    torch.testing.assert_close(found, summed / (labels != IGNORE_INDEX).sum())


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_is_its_formula(case, gamma):
    logits, labels = case
    p, y = flat(logits, labels)
    right = p[torch.arange(len(y)), y]
    expected = (-WEIGHTS.double()[y] * (1 - right) ** gamma * right.log()).mean()
    torch.testing.assert_close(
        pixel_cross_entropy(logits, labels, class_weights=WEIGHTS.double(), gamma=gamma), expected
    )


def test_focal_of_a_pixel_that_is_surely_right_has_a_gradient():
    logits = torch.tensor([[200.0, -200.0]]).view(1, 2, 1, 1).requires_grad_()
    pixel_cross_entropy(logits, torch.zeros(1, 1, 1, dtype=torch.long), gamma=0.5).backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_dice_is_its_formula(case):
    logits, labels = case
    p, y = flat(logits, labels)
    truth = F.one_hot(y, K)
    dice = [2 * (p[:, k] * truth[:, k]).sum() / (p[:, k].sum() + truth[:, k].sum()) for k in range(K - 1)]
    torch.testing.assert_close(pixel_dice(logits, labels).double(), 1 - sum(dice) / len(dice), rtol=1e-5, atol=1e-6)


def test_dice_of_sure_predictions_is_that_of_torchmetrics(case):
    logits, labels = case
    labelled = labels != IGNORE_INDEX
    predicted, truth = logits.argmax(1)[labelled], labels[labelled]
    predicted = predicted.where(predicted < K - 1, 0)  # it would count a class without labels
    sure = 100.0 * F.one_hot(logits.argmax(1).where(logits.argmax(1) < K - 1, 0), K).movedim(-1, 1).float()
    score = dice_score(predicted[None], truth[None], num_classes=K - 1, average="macro", input_format="index")
    torch.testing.assert_close(pixel_dice(sure, labels), 1 - score.mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("term", ["cross_entropy", "focal", "dice"])
def test_ignored_pixels_change_nothing(case, term):
    logits, labels = case
    loss = PixelLoss([term], WEIGHTS.tolist()).double()
    (loss(logits, labels)[term]).backward()
    ignored = (labels == IGNORE_INDEX)[:, None].expand_as(logits)
    assert (logits.grad[ignored] == 0).all()
    assert (logits.grad[~ignored] != 0).any()
    nothing = loss(logits, torch.full_like(labels, IGNORE_INDEX))[term]
    assert nothing == 0


@pytest.mark.parametrize("term", ["cross_entropy", "focal", "dice"])
def test_a_pixel_of_weight_0_counts_as_one_that_is_ignored_but_for_their_number(case, term):
    logits, labels = case
    loss = PixelLoss([term], WEIGHTS.tolist()).double()
    weights = (torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) > 0.5).double()
    weighted = loss(logits, labels, weights)[term]
    ignored = labels.where(weights > 0, IGNORE_INDEX)
    left = loss(logits, ignored)[term]
    numbers = [(each != IGNORE_INDEX).sum() for each in (ignored, labels)]
    torch.testing.assert_close(weighted, left if term == "dice" else left * numbers[0] / numbers[1])


def test_the_numbers_are_no_part_of_what_is_saved():
    assert PixelLoss(["dice"], [1.0, 2.0]).state_dict() == {}
