import torch

from minorkey.training.weights import WeightEma


def test_average_follows_the_closed_form():
    """The first value is copied, so it weighs m^T; value t > 0 weighs (1 - m) m^(T - t)."""
    momentum, values = 0.9, torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ema = WeightEma(momentum)
    for value in values:
        ema.update({"w": value})
    ages = torch.arange(5, -1, -1)
    weights = (1 - momentum) * momentum**ages
    weights[0] /= 1 - momentum
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0).to(weights))
    torch.testing.assert_close(ema.average["w"], (weights[:, None].double() * values).sum(0), rtol=0, atol=1e-6)


def test_average_is_apart_from_the_weights():
    weight = torch.ones(2)
    ema = WeightEma(0.5)
    ema.update({"w": weight})
    weight.mul_(3)
    assert torch.equal(ema.average["w"], torch.ones(2))
    ema.update({"w": weight})
    assert torch.equal(ema.average["w"], torch.full((2,), 2.0))


def test_counters_are_copied():
    ema = WeightEma(0.5)
    for count in (1, 5):
        ema.update({"batches": torch.tensor(count)})
    assert ema.average["batches"] == 5
