import torch
from torch import nn

from minorkey.adapters.fingerprint import weights_sha256


def _network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_same_weights_have_the_same_fingerprint() -> None:
    assert weights_sha256(_network()) == weights_sha256(_network())
    assert len(weights_sha256(_network())) == 64


def test_order_of_the_modules_does_not_count() -> None:
    a, b = nn.Linear(2, 2), nn.Linear(3, 3)
    one, other = nn.ModuleDict({"a": a, "b": b}), nn.ModuleDict()
    other["b"], other["a"] = b, a
    assert list(one.state_dict()) != list(other.state_dict())
    assert weights_sha256(one) == weights_sha256(other)


def test_value_type_shape_and_name_count() -> None:
    changed, buffer, half, renamed = (
        _network(),
        _network(),
        _network().half(),
        nn.Sequential(*_network(), nn.ReLU()),
    )
    with torch.no_grad():
        changed[0].weight[0, 0] += 1e-6
        buffer[1].running_mean[0] = 1.0
    reshaped = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    reshaped.load_state_dict(_network().state_dict())
    reshaped[0].weight.data = reshaped[0].weight.data.reshape(4, 3).reshape(2, 6)
    renamed = nn.ModuleDict({"first": _network()[0], "second": _network()[1]})
    networks = [_network(), changed, buffer, half, reshaped, renamed]
    assert len({weights_sha256(network) for network in networks}) == len(networks)


def test_a_layer_that_transformers_renamed_counts_under_its_new_name() -> None:
    def block(attention: nn.Module) -> nn.Module:
        return nn.ModuleDict({"layer": nn.ModuleList([nn.ModuleDict({"attention": attention})])})

    with torch.random.fork_rng():
        torch.manual_seed(0)
        q, out = nn.Linear(4, 4), nn.Linear(4, 4)
    old = nn.ModuleDict({"attention": nn.ModuleDict({"query": q}), "output": nn.ModuleDict({"dense": out})})
    new = nn.ModuleDict({"q_proj": q, "o_proj": out})
    other = nn.ModuleDict({"q_proj": out, "o_proj": q})
    assert weights_sha256(block(old)) == weights_sha256(block(new)) != weights_sha256(block(other))
