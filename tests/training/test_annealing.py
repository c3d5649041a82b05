import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Rprop

from minorkey.errors import ConfigError
from minorkey.training.annealing import AnnealingWeightDecay, annealed_weight_decay
from minorkey.training.optim import param_groups


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


def test_it_stays_at_the_minimum_after_the_last_step():
    assert annealed_weight_decay(15, 10, initial=0.05, minimum=1e-3) == 1e-3


def test_undecayed_parameters_stay_undecayed():
    assert annealed_weight_decay(5, 10, initial=0.0, minimum=1e-5) == 0.0


def _optimizer(kind: type = AdamW) -> torch.optim.Optimizer:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    groups = param_groups(network, lr=0.1, weight_decay=0.4, backbone=network[0])
    groups[0]["weight_decay"] = groups[0]["initial_weight_decay"] = 0.2
    return kind(groups, lr=0.1)


def _decays(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["weight_decay"] for group in optimizer.param_groups]


def _half_cosine(step: int, total: int, initial: float, minimum: float) -> float:
    return minimum + (initial - minimum) * math.cos(math.pi * step / total / 2) ** 2


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_every_group_anneals_from_its_own_initial_value(kind):
    optimizer = _optimizer(kind)
    annealing = AnnealingWeightDecay(optimizer, total_steps=8, minimum=0.01)
    for step in range(9):
        expected = [_half_cosine(step, 8, initial, 0.01) for initial in (0.2, 0.4)]
        assert _decays(optimizer) == pytest.approx([expected[0], 0.0, expected[1]])
        annealing.step()


def test_it_agrees_with_the_cosine_schedule_of_torch():
    weight = nn.Parameter(torch.ones(1))
    rates = SGD([weight], lr=0.05)
    decays = SGD([weight], lr=1.0, weight_decay=0.05)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(rates, T_max=10, eta_min=1e-5)
    annealing = AnnealingWeightDecay(decays, total_steps=10)
    for _ in range(10):
        assert _decays(decays) == pytest.approx([group["lr"] for group in rates.param_groups])
        rates.step()
        cosine.step()
        annealing.step()


def test_groups_of_any_optimizer_start_from_what_they_have():
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=0.1, weight_decay=0.3)
    AnnealingWeightDecay(optimizer, total_steps=4).step()
    assert _decays(optimizer) == pytest.approx([_half_cosine(1, 4, 0.3, 1e-5)])


def test_a_stopped_training_goes_on_where_it_was():
    optimizer = _optimizer()
    annealing = AnnealingWeightDecay(optimizer, total_steps=8)
    for _ in range(3):
        annealing.step()
    saved = optimizer.state_dict(), annealing.state_dict()
    resumed = _optimizer()
    resumed_annealing = AnnealingWeightDecay(resumed, total_steps=99, minimum=0.1)
    resumed.load_state_dict(saved[0])
    resumed_annealing.load_state_dict(saved[1])
    for _ in range(3):
        assert _decays(resumed) == _decays(optimizer)
        annealing.step()
        resumed_annealing.step()


def test_annealing_alone_restores_the_decay_whatever_the_optimizer_had():
    optimizer = _optimizer()
    annealing = AnnealingWeightDecay(optimizer, total_steps=8)
    annealing.step()
    other = AdamW([{"params": [nn.Parameter(torch.ones(1))]} for _ in range(3)], weight_decay=0.7)
    AnnealingWeightDecay(other, total_steps=8).load_state_dict(annealing.state_dict())
    assert _decays(other) == _decays(optimizer)


def test_a_state_of_other_groups_is_refused():
    state = AnnealingWeightDecay(_optimizer(), total_steps=8).state_dict()
    other = AnnealingWeightDecay(SGD([nn.Parameter(torch.ones(1))], lr=0.1, weight_decay=0.3), total_steps=8)
    with pytest.raises(ConfigError) as error:
        other.load_state_dict(state)
    assert str(error.value) == (
        "the state is of an optimizer with 3 groups, this one has 1; build it over the same parameter groups"
    )


def test_no_steps():
    with pytest.raises(ConfigError, match="^total_steps is 0, expected the number of optimizer steps, 1 or more$"):
        AnnealingWeightDecay(_optimizer(), total_steps=0)


@pytest.mark.parametrize(("kind", "settings"), [(AdamW, {"weight_decay": 0.0}), (Rprop, {})])
def test_nothing_to_anneal(kind, settings):
    optimizer = kind([nn.Parameter(torch.ones(1))], lr=0.1, **settings)
    with pytest.raises(ConfigError) as error:
        AnnealingWeightDecay(optimizer, total_steps=8)
    assert str(error.value) == (
        "the highest weight decay of the optimizer is 0, nothing to anneal to 1e-05; "
        "use an optimizer with weight_decay, for example 0.05"
    )
    assert "initial_weight_decay" not in optimizer.param_groups[0]


def test_a_group_that_is_added_later_anneals_from_its_own_value():
    optimizer = AdamW([nn.Parameter(torch.ones(1))], weight_decay=0.05)
    annealing = AnnealingWeightDecay(optimizer, total_steps=2)
    annealing.step()
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "weight_decay": 0.2})
    assert annealing.state_dict()["initial"] == [0.05, 0.2]
    annealing.step()
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-5, 1e-5]
