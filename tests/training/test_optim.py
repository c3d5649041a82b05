import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from minorkey.errors import ConfigError
from minorkey.training.optim import (
    annealed_weight_decay,
    build_optimizer,
    lr_factor,
    param_groups,
    schedule,
)
from minorkey.training.options import TrainingOptions


class Network(nn.Module):
    """One parameter of every kind that the groups tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"norm": nn.LayerNorm(4), "query": nn.Linear(4, 4), "frozen": nn.Linear(4, 4)})
        self.backbone.register_parameter("position_embeddings", nn.Parameter(torch.zeros(1, 2, 4)))
        self.backbone.register_parameter("cls_token", nn.Parameter(torch.zeros(1, 1, 4)))
        self.backbone["frozen"].requires_grad_(False)
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4), nn.BatchNorm2d(4))


def test_groups_hold_every_trained_parameter_once_with_its_rate_and_decay():
    network = Network()
    groups = param_groups(network, lr=0.3, backbone_lr=0.1, weight_decay=0.05)
    seen = {name: (g["lr"], g["weight_decay"]) for g in groups for name in g["names"]}
    assert seen == {
        "backbone.query.weight": (0.1, 0.05),
        "backbone.query.bias": (0.1, 0.05),
        "backbone.norm.weight": (0.1, 0.0),
        "backbone.norm.bias": (0.1, 0.0),
        "backbone.position_embeddings": (0.1, 0.0),
        "backbone.cls_token": (0.1, 0.0),
        "head.0.weight": (0.3, 0.05),
        "head.0.bias": (0.3, 0.05),
        **{f"head.{i}.{kind}": (0.3, 0.0) for i in (1, 2) for kind in ("weight", "bias")},
    }
    parameters = dict(network.named_parameters())
    for group in groups:
        assert all(parameters[n] is p for n, p in zip(group["names"], group["params"], strict=True))


def test_rates_per_method():
    options = TrainingOptions(lr=0.3, backbone_lr={"soma": 0.1, "full": 0.01})
    optimizer = build_optimizer(Network(), options, "full")
    assert isinstance(optimizer, AdamW)
    assert {group["lr"] for group in optimizer.param_groups} == {0.3, 0.01}
    with pytest.raises(ConfigError, match="unknown method in training.backbone_lr 'lora'.* Known: full, soma"):
        build_optimizer(Network(), options, "lora")


def test_a_frozen_backbone_needs_no_rate():
    network = Network()
    network.backbone.requires_grad_(False)
    optimizer = build_optimizer(network, TrainingOptions(backbone_lr={"soma": 0.1}), "frozen")
    assert all(name.startswith("head.") for group in optimizer.param_groups for name in group["names"])


def _factors(**options):
    options = TrainingOptions(steps=10, **options)
    return [lr_factor(step, options) for step in range(10)]


def test_poly():
    factors = _factors(schedule="poly", power=0.9)
    assert factors[0] == 1
    assert factors[5] == pytest.approx(0.5**0.9)
    assert factors[9] == pytest.approx(0.1**0.9)


def test_cosine():
    factors = _factors(schedule="cosine")
    assert factors[0] == 1
    assert factors[5] == pytest.approx(0.5)
    assert factors[9] == pytest.approx((1 + math.cos(0.9 * math.pi)) / 2)


def test_steps():
    expected = [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01]
    assert _factors(schedule="steps", milestones=[3, 6]) == pytest.approx(expected)


def test_warm_up_is_linear_and_multiplies_the_schedule():
    expected = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]
    assert _factors(schedule="constant", warmup=4) == pytest.approx(expected)
    assert _factors(schedule="cosine", warmup=4)[1] == pytest.approx(0.5 * (1 + math.cos(0.1 * math.pi)) / 2)


def test_weight_decay_anneals_on_a_half_cosine():
    total, initial, minimum = 200, 0.05, 1e-5
    decay = [annealed_weight_decay(step, total, initial, minimum) for step in range(total + 1)]
    assert decay[0] == pytest.approx(initial)
    assert decay[total] == pytest.approx(minimum)
    assert decay[total // 2] == pytest.approx((initial + minimum) / 2)
    # cos^2(x / 2) = (1 + cos x) / 2
    closed_form = [minimum + (initial - minimum) * math.cos(math.pi * t / total / 2) ** 2 for t in range(total + 1)]
    assert decay == pytest.approx(closed_form)
    assert all(after < before for before, after in zip(decay, decay[1:], strict=False))


def test_undecayed_parameters_stay_undecayed():
    assert annealed_weight_decay(5, 10, initial=0.0, minimum=1e-5) == 0.0


@pytest.mark.parametrize("anneal", [True, False])
def test_schedule_is_a_function_of_the_step_alone(anneal):
    options = TrainingOptions(steps=8, lr=0.4, backbone_lr=0.2, weight_decay=0.1, weight_decay_min=0.02)
    optimizer = SGD(param_groups(Network(), 0.4, 0.2, 0.1), lr=0.4)
    for step in (6, 0, 4):
        schedule(optimizer, step, options, anneal)
    rates = {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    decay = 0.06 if anneal else 0.1
    factor = 0.5**0.9
    assert {round(lr / factor, 9) for lr, _ in rates} == {0.4, 0.2}
    assert {round(value, 9) for _, value in rates} == {decay, 0.0}


def test_rates_must_be_positive():
    with pytest.raises(ValueError, match="backbone_lr must be above 0"):
        TrainingOptions(backbone_lr={"soma": 0.0})
