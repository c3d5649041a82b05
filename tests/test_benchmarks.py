"""The step that benchmarks/teachers.py times is one that the regimes still take; what benchmarks/waits.py counts."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TOY = Namespace(size=64, batch=2, channels=16, device="cpu", small=True, large=False)


@pytest.mark.parametrize("experiment", ["transda", "modern"])
def test_a_timed_step_trains_and_counts_its_memory(experiment, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from teachers import EXPERIMENTS, configuration, write_backbone
    from timed_training import Training

    backbone = write_backbone(tmp_path, experiment, TOY)
    held = []
    for variant in (EXPERIMENTS[experiment].variants[0], EXPERIMENTS[experiment].variants[-1]):
        training = Training(configuration(experiment, variant, backbone, TOY))
        before = {name: tensor.clone() for name, tensor in training.network.state_dict().items()}
        parts = training.step()
        assert sum(parts.values()) > 0
        assert any(not tensor.equal(before[name]) for name, tensor in training.network.state_dict().items())
        held.append(sum(mb for name, mb in training.held().items() if name != "gradients"))
    assert 0 < held[1] < held[0]


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize(
    "name",
    [
        "semfpn",
        "transda",
        *(
            pytest.param(name, marks=pytest.mark.thorough)
            for name in ("mask2former", "eomt", "d_fine + atss", "self_training, boxes")
        ),
    ],
)
def test_a_training_step_hardly_waits_for_its_device(name, tmp_path):
    from waits import CASES, count_step

    waits = count_step(CASES[name].changes, tmp_path)
    assert waits.total <= CASES[name].wanted, waits.places
    assert waits.kinds["batch"] >= 4
    assert waits.operations > 1000  # a whole step was counted


@pytest.mark.usefixtures("benchmarks")
def test_the_criterion_of_mask2former_is_few_operations():
    from waits import CRITERION_OPERATIONS, criterion_operations

    assert 0 < criterion_operations() <= CRITERION_OPERATIONS


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (lambda theirs, ours: float(theirs.sum()), "read"),
        (lambda theirs, ours: theirs.cpu(), "read"),
        (lambda theirs, ours: theirs.tolist(), "read"),
        (lambda theirs, ours: torch.equal(theirs, theirs), "read"),
        (lambda theirs, ours: 1 if (theirs > 0).any() else 0, "read"),
        (lambda theirs, ours: theirs[theirs > 0], "search"),
        (lambda theirs, ours: theirs.nonzero(), "search"),
        (lambda theirs, ours: theirs.unique(), "search"),
        (lambda theirs, ours: theirs.new_tensor([1.0, 2]), "send"),
        (lambda theirs, ours: torch.tensor([1, 2], device=theirs.device), "send"),
        (lambda theirs, ours: ours.to(theirs.device), "send"),
        (lambda theirs, ours: theirs[ours.long()], "send"),
        (lambda theirs, ours: theirs[[0, 2]], "send"),
        (lambda theirs, ours: theirs + torch.zeros(4, device=theirs.device) * 2, None),
        (lambda theirs, ours: ours.sum().item() + len(ours.nonzero()), None),
    ],
)
def test_waits_are_counted_by_kind(action, kind):
    from device_waits import counted

    theirs = torch.arange(4.0)
    with counted() as waits:
        ours = torch.from_numpy(np.array([0.0, 1, 3]))
        action(theirs, ours)
    assert {name: times for name, times in waits.kinds.items() if times} == ({kind: 1} if kind else {})


@pytest.mark.usefixtures("benchmarks")
def test_what_would_fail_on_a_gpu_is_an_error():
    from device_waits import counted

    theirs = torch.zeros(2)
    with counted(), pytest.raises(AssertionError, match="mixes tensors of host and device"):
        theirs + torch.tensor([1.0, 2.0])
