"""Batches in which nothing is labelled, in every regime: they are worth nothing, and teach nothing."""

from dataclasses import replace

import pytest
import torch
from students import make_student, random_pair

from minorkey.labels import IGNORE_INDEX
from minorkey.regimes.base import RegimeOptions
from minorkey.regimes.self_training.regime import SelfTraining
from minorkey.regimes.supervised import Supervised
from minorkey.regimes.transda.regime import Transda, TransdaOptions
from minorkey.tasks.segmentation.pseudo_labels import PixelSelfTrainingOptions

UNSURE = {"threshold": 2.0}
"""What no probability reaches."""

REGIMES = {
    "supervised": (Supervised, RegimeOptions()),
    "weighed": (SelfTraining, PixelSelfTrainingOptions().model_copy(update=UNSURE)),
    "dropped": (SelfTraining, PixelSelfTrainingOptions(unsure="drop").model_copy(update=UNSURE)),
    "unmixed": (SelfTraining, PixelSelfTrainingOptions(class_mix=False).model_copy(update=UNSURE)),
    "transda": (Transda, TransdaOptions()),
}

OF_DOMAINS = {"adversarial", "discriminator", "weighting"}
"""Losses that need no label."""


def _unlabelled(batch):
    return replace(batch, labels=torch.full_like(batch.labels, IGNORE_INDEX))


@pytest.mark.parametrize("head", ["linear", "upernet", "mask2former"])
@pytest.mark.parametrize("name", REGIMES)
def test_a_step_without_a_label_teaches_nothing(name, head):
    (kind, options), student = REGIMES[name], make_student(head=head)
    torch.manual_seed(0)
    regime = kind(student.setup(options, labelled=True))
    pair = random_pair()
    pair = replace(pair, source=_unlabelled(pair.source), target=_unlabelled(pair.target))
    for group in regime.losses(pair.source if kind is Supervised else pair):
        learnt = [loss for name, loss in group.items() if name not in OF_DOMAINS]
        assert all(loss.item() == 0 for loss in learnt)
        if learnt:
            torch.stack(learnt).sum().backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in student.trained.values())
