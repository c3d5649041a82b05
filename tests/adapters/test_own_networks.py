"""Networks of anyone's own, with what those of transformers do not have: hooks, ties, layers that compute otherwise."""

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel.replicate import _replicatable_module

from minorkey.adapters.attach import attach
from minorkey.adapters.fold import fold
from minorkey.adapters.options import MethodOptions
from minorkey.errors import AdapterError

WIDTH = 16
IMAGES = torch.randn(4, 9, WIDTH, generator=torch.Generator().manual_seed(0))
LOW_RANK = MethodOptions(name="lora", rank=2, first_block=0)


class Scaled(nn.Linear):
    """A layer with a forward pass of its own, as equalised and masked ones have."""

    def forward(self, x):
        return F.linear(x, 0.1 * self.weight, self.bias)


class Block(nn.Module):
    def __init__(self, linear=nn.Linear):
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attn = nn.Module()
        self.attn.qkv, self.attn.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = linear(WIDTH, 2 * WIDTH), linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = self.attn.qkv(self.norm1(x)).chunk(3, -1)
        x = x + self.attn.proj(F.scaled_dot_product_attention(q, k, v))
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(x)))


class Network(nn.Module):
    def __init__(self, linear=nn.Linear):
        super().__init__()
        self.blocks = nn.ModuleList(Block(linear) for _ in range(2))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def _network(*arguments) -> Network:
    torch.manual_seed(0)
    return Network(*arguments).eval()


def _moved(network, method=LOW_RANK):
    """The network attached, as after some training."""
    attached = attach(network, method)
    for parameter in attached.trained_parameters().values():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return attached


@pytest.mark.parametrize("method", ["soma", "pissa"])
def test_a_layer_with_a_forward_pass_of_its_own_is_left_out_and_said(method):
    network = _network(Scaled)
    before = network(IMAGES)
    with pytest.warns(UserWarning, match=r"4 layers get no adapter.*: blocks\.0\.mlp\.fc1"):
        attach(network, MethodOptions(name=method, rank=2, first_block=0))
    torch.testing.assert_close(network(IMAGES), before, rtol=0, atol=1e-5)
    assert type(network.blocks[0].mlp.fc1) is Scaled


@pytest.mark.parametrize("layer", ["attn.qkv", "mlp.fc2"])
def test_hooks_of_a_layer_see_its_whole_output_attached_and_folded(layer):
    network = _network()
    seen = []
    hooked = network.blocks[1].get_submodule(layer)
    handle = hooked.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    _moved(network)
    outputs = [network(IMAGES)]
    fold(network)
    outputs.append(network(IMAGES))
    assert len(seen) == 2
    torch.testing.assert_close(seen[0], seen[1])
    torch.testing.assert_close(*outputs)
    handle.remove()
    network(IMAGES)
    assert len(seen) == 2


def test_a_hook_that_changes_an_output_changes_it_still():
    network = _network()
    network.blocks[1].mlp.fc2.register_forward_hook(lambda _module, _inputs, output: output / 2)
    before = network(IMAGES)
    attach(network, LOW_RANK)
    torch.testing.assert_close(network(IMAGES), before)
    fold(network)
    torch.testing.assert_close(network(IMAGES), before)


@pytest.mark.parametrize("around", [torch.autocast("cpu", torch.bfloat16), torch.inference_mode(), nullcontext()])
def test_folding_is_exact_wherever_it_is_called(around):
    network = _network()
    _moved(network)
    expected = network(IMAGES)
    with around:
        fold(network)
    torch.testing.assert_close(network(IMAGES), expected, rtol=0, atol=1e-5)
    assert not any(parameter.is_inference() for parameter in network.parameters())


def test_a_replica_under_autocast_computes_with_its_own_layers():
    """As `nn.DataParallel` makes them: modules of other identity, which share all that is no module."""
    network = _network()
    _moved(network)
    assert _replicatable_module(network)
    replica = _replica(network)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        torch.testing.assert_close(replica(IMAGES), network(IMAGES), rtol=0.02, atol=0.02)


def _replica(module: nn.Module) -> nn.Module:
    copy = module._replicate_for_data_parallel()
    for name, child in module._modules.items():
        copy._modules[name] = None if child is None else _replica(child)
    for name, parameter in module._parameters.items():
        copy._parameters[name] = parameter
    return copy


def test_the_state_is_that_of_what_trained_whether_gradients_are_on_or_not():
    network = _network()
    attached = _moved(network)
    before = attached.state_dict()
    network.requires_grad_(False)
    after = attached.state_dict()
    assert before.keys() == after.keys() != set()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    with pytest.raises(AdapterError, match="lacks"):
        attached.load_state_dict({})
    fold(network)
    with pytest.raises(AdapterError, match=r"'blocks\.0\.attn\.qkv\.q.*' any more: its adapter was folded in"):
        attached.state_dict()


@pytest.mark.parametrize("also", [["blocks.0.norm1.weigth"], "blocks.0.norm1.weight"])
def test_what_is_to_train_too_has_to_be_there(also):
    with pytest.raises(AdapterError, match="also names '.*', which is no parameter of Network"):
        attach(_network(), LOW_RANK, also=also)


@pytest.mark.parametrize("tie", ["module", "parameter"])
def test_a_norm_that_is_used_twice_is_refused(tie):
    network = _network()
    first, second = network.blocks
    if tie == "module":
        second.norm1 = first.norm1
    else:
        second.norm1.weight = first.norm1.weight
    with pytest.raises(AdapterError, match=r"layer 'blocks\.0\.norm1' is used in several places"):
        attach(network, "norm")
    assert type(first.norm1) is nn.LayerNorm


def test_norms_that_torch_reads_past_are_left_out_and_said():
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, batch_first=True)
    network = nn.Sequential(layer, nn.LayerNorm(WIDTH)).eval()
    before = network(IMAGES)
    with pytest.warns(UserWarning, match=r"2 norms are not trained.*: 0\.norm1, 0\.norm2"):
        attached = attach(network, "norm")
    with torch.no_grad():
        torch.testing.assert_close(network(IMAGES), before)
    assert {name.partition(".")[0] for name in attached.trained_parameters()} == {"1"}
    with pytest.raises(AdapterError, match="has no normalisation layers to train"):
        attach(nn.Sequential(deepcopy(layer)), "norm")


class LayerNorm2d(nn.Module):
    """As many networks have their own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Of maps `(B, C, H, W)`."""
        return nn.functional.normalize(maps, dim=1) * self.weight[:, None, None]


def test_norms_of_maps_train_by_the_method_of_norms():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), LayerNorm2d(4), nn.InstanceNorm2d(4, affine=True), nn.InstanceNorm2d(4))
    attached = attach(network, "norm")
    assert attached.layers == ("1", "2")
    assert {name.partition(".")[0] for name in attached.trained_parameters()} == {"1", "2"}


def test_a_name_that_ends_in_stem_is_no_stem():
    network = nn.ModuleDict({"system": _network()})
    assert all(name.startswith("system.blocks.") for name in attach(network, LOW_RANK).layers)


class Plain(nn.Linear):
    """A layer of a class of its own, which computes as usual."""


class PreNorm(nn.Module):
    """What it is around is no norm."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.scale = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return self.layer(F.layer_norm(x, x.shape[-1:]) * self.scale)


class Rms(nn.Module):
    """As language models have it: the weight multiplies what is in the precision of the input again."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return self.weight * F.rms_norm(x.float(), x.shape[-1:]).to(x.dtype)


RmsNorm = type("RmsNorm", (Rms,), {})


@pytest.mark.parametrize(("queries", "keys"), [(8, 2), (4, 1)])
@pytest.mark.parametrize("roles", [["q"], ["v"], None])
def test_grouped_queries_whose_rows_divide_by_three_are_refused(queries, keys, roles):
    network, each = _network(), WIDTH // queries
    for block in network.blocks:
        block.attn.qkv = nn.Linear(WIDTH, (queries + 2 * keys) * each)
    assert network.blocks[0].attn.qkv.out_features % 3 == 0
    with pytest.raises(AdapterError, match=r"'blocks.0.attn.qkv' has 24 rows, .* as of grouped queries"):
        attach(network, MethodOptions(name="soma", rank=2, first_block=0, roles=roles))


def test_a_fused_layer_that_is_more_than_a_plain_one_is_left_out_and_said():
    network = _network()
    network.blocks[0].attn.qkv.__class__ = Plain
    network.blocks[1].attn.qkv.register_buffer("scale", torch.ones(3))
    with pytest.warns(UserWarning, match="2 layers get no adapter"):
        attached = attach(network, LOW_RANK)
    assert attached.layers
    assert not any("qkv" in name for name in attached.layers)


def test_fused_layers_with_a_bias_in_common_are_refused():
    network = _network()
    network.blocks[1].attn.qkv.bias = network.blocks[0].attn.qkv.bias
    with pytest.raises(AdapterError, match="'blocks.0.attn.qkv.q' is used in several places"):
        attach(network, LOW_RANK)


@pytest.mark.parametrize("name", ["blocks.0.mlp.fc1.bias", "blocks.0.attn.qkv.bias"])
def test_biases_of_adapted_layers_train_by_the_method_alone(name):
    network = _network()
    with pytest.raises(AdapterError, match=f"also names '{name}', of an adapted layer; set the method's train_bias"):
        attach(network, LOW_RANK, also=[name])
    attached = attach(network, MethodOptions(name="lora", rank=2, first_block=0, train_bias=True), also=[name])
    assert any(trained.endswith("bias") for trained in attached.trained)


def test_a_mask_of_infinity_in_the_state_is_what_it_was():
    def masked():
        network = _network()
        network.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
        return network

    state = _moved(masked(), MethodOptions(name="full")).state_dict()
    attached = attach(masked(), MethodOptions(name="full"), state=state)
    assert torch.equal(attached.backbone.blocks[0].mlp.fc1.weight, state["trained.blocks.0.mlp.fc1.weight"])
    broken = {**state, "trained.blocks.0.mlp.fc1.weight": torch.full((2 * WIDTH, WIDTH), torch.nan)}
    with pytest.raises(AdapterError, match="not finite"):
        attach(masked(), MethodOptions(name="full"), state=broken)


def test_what_is_around_other_layers_is_no_norm():
    network = nn.Sequential(PreNorm(nn.Linear(WIDTH, WIDTH)), nn.LayerNorm(WIDTH))
    attached = attach(network, "norm")
    assert attached.layers == ("1",)
    assert attached.trained_count == 2 * WIDTH


@pytest.mark.parametrize("norm", [RmsNorm, lambda: nn.LayerNorm(WIDTH), lambda: nn.BatchNorm1d(9)])
def test_norms_of_a_network_in_bfloat16_train(norm):
    network = nn.Sequential(norm(), nn.Linear(WIDTH, WIDTH)).bfloat16().eval()
    before = network(IMAGES.bfloat16())
    attached = attach(network, "norm")
    assert torch.equal(network(IMAGES.bfloat16()), before)
    network(IMAGES.bfloat16()).float().square().mean().backward()
    assert all(parameter.grad is not None for parameter in attached.trained_parameters().values())
    fold(network)
    assert {tensor.dtype for tensor in network.state_dict().values()} <= {torch.bfloat16, torch.int64}
    assert torch.equal(network(IMAGES.bfloat16()), before)
