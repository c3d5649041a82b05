"""The step that benchmarks/teachers.py times is one that the regimes still take."""

from argparse import Namespace
from pathlib import Path

import pytest

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
