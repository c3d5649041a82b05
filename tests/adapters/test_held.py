"""Frozen weights in a low precision for a while."""

import copy

import pytest
import stand_in
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from minorkey.adapters.attach import attach
from minorkey.adapters.fold import fold
from minorkey.adapters.held import exact, held_in
from minorkey.adapters.options import MethodOptions

BF16 = torch.bfloat16


@pytest.fixture
def network(small_backbone: nn.Module) -> nn.Module:
    attach(small_backbone, MethodOptions(name="lora", rank=3))
    stand_in.train(small_backbone)
    return small_backbone


def values(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def step(network: nn.Module, image: Tensor, dtype: torch.dtype = BF16) -> list[Tensor]:
    """The last feature map and the gradients of what trains."""
    trained = [p for p in network.parameters() if p.requires_grad]
    with torch.autocast("cpu", dtype):
        last = network(image).feature_maps[-1].float()
    gradients = torch.autograd.grad(last.square().mean(), trained, allow_unused=True)
    return [last.detach(), *(g for g in gradients if g is not None)]


@pytest.mark.parametrize("dtype", [BF16, torch.float16])
def test_a_step_is_the_same_and_the_exact_weights_come_back(network, image, dtype):
    before, expected = values(network), step(network, image, dtype)
    with held_in(network, dtype):
        found = step(network, image, dtype)
        within = network.state_dict()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert within.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in values(network).items())


def test_nothing_is_read_that_was_never_written(network, image):
    with held_in(network, BF16):
        expected = step(network, image)
    torch.use_deterministic_algorithms(True)  # what is empty holds NaN
    try:
        assert torch.empty(3).isnan().all()
        with held_in(network, BF16):
            found = step(network, image)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_what_no_adapter_trains_in_linear_layers_is_held_low_and_nothing_else(network):
    with held_in(network, BF16):
        low = {name for name, p in network.named_parameters() if p.dtype == BF16}
        kinds = {type(network.get_submodule(name.rpartition(".")[0])) for name in low}
        plain = {f"{name}.weight" for name, module in network.named_modules() if type(module) is nn.Linear}
        assert kinds <= {nn.Linear, nn.Conv2d}
        assert low
        assert plain - {name for name, p in network.named_parameters() if p.requires_grad} <= low
        assert {p.dtype for p in network.parameters() if p.requires_grad} == {torch.float32}


def test_exact_weights_are_there_when_asked_for(network, image):
    with torch.no_grad():
        expected = network(image).feature_maps[-1]
        with held_in(network, BF16):
            held = step_output(network, image)
            with exact(network):
                assert torch.equal(network(image).feature_maps[-1], expected)
            assert torch.equal(step_output(network, image), held)


def step_output(network: nn.Module, image: Tensor) -> Tensor:
    with torch.autocast("cpu", BF16):
        return network(image).feature_maps[-1]


def test_exact_does_nothing_to_a_network_that_is_not_held(network):
    before = {name: p.data_ptr() for name, p in network.named_parameters()}
    with exact(network):
        assert before == {name: p.data_ptr() for name, p in network.named_parameters()}


def test_no_other_precision_is_held(network):
    for dtype in (None, torch.float32):
        with held_in(network, dtype):
            assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_the_weight_is_there_once(tiny):
    network = tiny("dinov2")
    attach(network, MethodOptions(name="lora", rank=3))
    with held_in(network, BF16):
        for layer in (module for module in network.modules() if isinstance(module, BaseTunerLayer)):
            (held,) = (held for layers, held in layer.shared.held.items() if layer in layers)
            assert layer.base_layer.weight.untyped_storage().data_ptr() == held.matrix.untyped_storage().data_ptr()


def test_folding_starts_from_the_exact_weights(network):
    other = copy.deepcopy(network)
    fold(other)
    with held_in(network, BF16):
        fold(network)
    folded = network.state_dict()
    assert all(torch.equal(value, folded[name]) for name, value in other.state_dict().items())


def test_a_pass_with_other_values_in_between_leaves_the_gradients_alone(tiny, image):
    """As a teacher's between the student's forward and backward pass."""
    network = tiny("dinov2")
    attach(network, MethodOptions(name="lora", rank=3, train_bias=True))
    stand_in.train(network)
    trained = [p for p in network.parameters() if p.requires_grad]
    expected = step(network, image)[1:]
    with held_in(network, BF16):
        with torch.autocast("cpu", BF16):
            loss = network(image).feature_maps[-1].float().square().mean()
        own = [p.data for p in trained]
        for p in trained:
            p.data = torch.full_like(p, 0.3)
        with torch.no_grad():
            assert not torch.allclose(step_output(network, image).float().square().mean(), loss)
        for p, value in zip(trained, own, strict=True):
            p.data = value
        found = torch.autograd.grad(loss, trained)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_fused_projection_is_held_as_one(image):
    projection = nn.Module()
    projection.blocks = nn.ModuleList([nn.ModuleDict({"attn": nn.ModuleDict({"qkv": nn.Linear(16, 48)})})])
    attach(projection, MethodOptions(name="lora", rank=3, train_bias=True))
    stand_in.train(projection)
    layer, x = projection.blocks[0]["attn"]["qkv"], torch.randn(4, 16)
    with torch.autocast("cpu", BF16):
        expected = layer(x)
        with held_in(projection, BF16):
            assert torch.equal(layer(x), expected)
            assert len(layer.q.shared.held) == 1
            layer.k.enable_adapters(False)  # then each part is computed by itself
            assert torch.equal(layer(x)[:, :16], expected[:, :16])
