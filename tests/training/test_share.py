from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minorkey.data.sample import Batch
from minorkey.labels import IGNORE_INDEX
from minorkey.tasks.counts import Counts, weighted
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.training.share import divided_shares, loss_shares, with_shares


def test_shares_make_the_average_gradient_that_of_all_pixels():
    """Against cross-entropy over the whole batch; one part has no labelled pixel, another has few."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, 4, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (6, 4, 5), generator=generator)
    labels[2:4], labels[4:, 1:] = IGNORE_INDEX, IGNORE_INDEX
    whole = logits.clone().requires_grad_()
    F.cross_entropy(whole, labels, ignore_index=IGNORE_INDEX).backward()
    network = torch.nn.Identity()
    counts = [Segmentation().counts(network, part.byte()).elements for part in labels.split(2)]
    assert counts == [40, 0, 10]
    gradients = []
    for share, part, truth in zip(loss_shares(np.array(counts)), logits.split(2), labels.split(2), strict=True):
        part = part.clone().requires_grad_()
        weighted(F.cross_entropy(part, truth, ignore_index=IGNORE_INDEX), float(share)).backward()
        gradients.append(part.grad / 3)
    torch.testing.assert_close(torch.cat(gradients), whole.grad, rtol=1e-12, atol=1e-15)


def test_one_process_keeps_its_loss():
    assert loss_shares(np.array([17.0])) == pytest.approx([1.0])
    assert weighted(torch.tensor(0.3), 1.0) == torch.tensor(0.3)


def test_a_step_without_any_labelled_pixel_has_no_loss_and_no_gradient():
    """Even of a task whose own loss is the mean over nothing."""
    shares = loss_shares(np.array([0.0, 0.0]))
    assert shares.tolist() == [0, 0]
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    loss = F.cross_entropy(logits, torch.full((2, 4, 5), IGNORE_INDEX), ignore_index=IGNORE_INDEX)
    assert loss.isnan()
    weighted(loss, float(shares[0])).backward()
    assert (logits.grad == 0).all()


def test_objects_of_all_batches_stand_in_for_those_of_one():
    """A criterion has divided its sums by the objects of a batch, per process and at least 1."""
    counts, sums = np.array([[0.0, 4.0, 0.0], [1.0, 3.0, 0.0]]), np.array([[1.0, 8.0, 2.0], [4.0, 5.0, 3.0]])
    losses = sums / counts.mean(axis=0).clip(min=1)
    expected = sums.sum() / 2 / (counts.sum() / 2)
    assert (divided_shares(counts) * losses).mean() == pytest.approx(expected)
    assert (divided_shares(np.zeros((2, 3))) * sums).mean() == pytest.approx(sums.sum() / 2)
    assert (divided_shares(counts[:, :1]) == 1).all()


MEAN = 4 * 3 / 10
"""Of four batches, one with 3 of 10 elements."""


@pytest.mark.parametrize(
    ("averaged", "share", "shares"),
    [(None, MEAN, {}), (frozenset(), 1.0, {}), (frozenset({"class"}), 1.0, {"class": MEAN})],
)
def test_a_batch_is_given_its_share_and_stays_as_it_was(averaged, share, shares):
    """Two processes with two batches each: elements, and objects, of which both places have as many."""
    everyone = np.array([[[3.0, 3.0], [2.0, 1.0]], [[4.0, 1.0], [1.0, 3.0]]])
    batch = Batch(torch.zeros(1, 3, 4, 4), None, ["a"], ["0"])
    given = with_shares(batch, Counts(3, 3, averaged), everyone, process=0, place=0)
    assert (given.share, given.shares) == (pytest.approx(share), pytest.approx(shares))
    assert (batch.share, batch.shares) == (1.0, {})
    with pytest.raises(FrozenInstanceError):
        batch.share = 2.0
