"""Training under autocast with frozen weights held in its precision gives what it gives without."""

from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from adapting import adapting, assert_same_training
from torch import nn

from minorkey.runs import fit as fitting
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder


@pytest.fixture
def bf16_on_a_cpu(monkeypatch):
    """What only a GPU is trained in otherwise; accelerate keeps one precision for a process."""
    AcceleratorState._reset_state()
    monkeypatch.setattr(fitting, "accelerator_for", lambda options: Accelerator(cpu=True, mixed_precision="bf16"))
    yield
    AcceleratorState._reset_state()


def _low(network):
    return sum(p.dtype == torch.bfloat16 for p in network.parameters())


EOMT = {
    "head": {"name": "eomt", "channels": 32, "queries": 6, "points": 50, "query_blocks": 1},
    "evaluation": {"source": False, "pictures": 0, "images": 2, "window": [32, 32]},
}
"""Its backbone is a view of the model's own modules, and none of them."""


@pytest.mark.parametrize(
    ("teacher", "head"),
    [
        ("adapter_ema", {}),
        ("ema", EOMT),
        pytest.param("ema", {}, marks=pytest.mark.thorough),
        pytest.param("adapter_ema", EOMT, marks=pytest.mark.thorough),
    ],
)
def test_a_training_is_the_same_held_or_not(
    bf16_on_a_cpu, make_config, backbone_folder, console, tmp_path, monkeypatch, teacher, head
):
    training = {"steps": 2, "choose": "best_source", "watch": 1, "judge_every": 1, "snapshots": 1}
    changes = adapting("self_training", teacher, training=training) | head
    if head:
        changes["backbone"] = {"name": str(backbone_folder), "image_size": 32}
        changes["self_training"] = {"threshold": 0.06}
    config = make_config(**changes)
    seen = []
    step = fitting.Loop._train_step

    def noted(loop, drawn):
        seen.append([_low(loop.fit.network), _low(loop.fit.regime.teacher.network)])
        step(loop, drawn)

    monkeypatch.setattr(fitting.Loop, "_train_step", noted)
    train(config, tmp_path / "held", console=console)
    monkeypatch.setattr(fitting, "held_in", lambda network, dtype, model: nullcontext())
    train(config, tmp_path / "plain", console=console)
    assert [count > 0 for step in seen for count in step] == [True] * 4 + [False] * 4
    assert_same_training(RunFolder(tmp_path / "held"), RunFolder(tmp_path / "plain"))


class Gated(nn.Module):
    """A backbone of someone's own, part of which is computed in float32 whatever the training is in."""

    channels, patch_size = (8,), 8

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 8)
        self.blocks = nn.ModuleList([nn.ModuleDict({"fc1": nn.Linear(8, 8)})])

    def forward(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        tokens = self.blocks[0]["fc1"](self.stem(pixel_values).movedim(1, -1))
        with torch.autocast("cpu", enabled=False):
            return [(tokens.float() * self.gate(tokens.float()).sigmoid()).movedim(-1, 1)]


def test_a_network_of_ones_own_may_leave_autocast(bf16_on_a_cpu, make_config, console, tmp_path):
    method = {"name": "lora", "rank": 2, "layers": {"fc1": ["fc1"]}}
    config = make_config(backbone={"name": f"{__name__}:Gated"}, head={"name": "linear"}, method=method)
    assert train(config, tmp_path / "run", console=console).domains
