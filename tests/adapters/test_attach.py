import copy
import warnings

import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from minorkey.adapters.attach import attach
from minorkey.adapters.options import MethodOptions, SoMA
from minorkey.adapters.peft_layers import factors, low_rank_layer
from minorkey.adapters.specs import METHODS
from minorkey.adapters.targets import find_targets
from minorkey.errors import AdapterError

RANK, ALPHA = 4, 8.0  # scaling 2: a forgotten scaling shows
LOW_RANK = [name for name, spec in METHODS.items() if spec.trains == "adapter"]
KEEPS_OUTPUT = [name for name, spec in METHODS.items() if spec.keeps_output]


def _options(name: str, **changes) -> MethodOptions:
    return MethodOptions(name=name, rank=RANK, alpha=ALPHA, **changes)


def _update(layer: nn.Module, scaling: float) -> np.ndarray:
    A, B = (p.detach().double().flatten(1).numpy() for p in factors(layer))
    return scaling * B @ A


def _truncated_svd(weight: torch.Tensor, kept: slice) -> np.ndarray:
    u, s, vh = np.linalg.svd(weight.detach().double().numpy(), full_matrices=False)
    return u[:, kept] * s[kept] @ vh[kept]


class Tied(nn.Module):
    """Two layers of one weight, and an index, which is whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.index = nn.Parameter(torch.arange(3), requires_grad=False)


def test_full_trains_a_tied_weight_once_and_whole_numbers_never() -> None:
    attached, other = (attach(Tied(), MethodOptions(name="full")) for _ in range(2))
    assert attached.trained_parameters().keys() == {"first.weight", "first.bias", "second.bias"}
    state = attached.state_dict()
    assert {name.removeprefix("trained.") for name in state} == {"first.weight", "first.bias", "second.bias", "index"}
    other.load_state_dict(state)
    assert torch.equal(other.backbone.second.weight, attached.backbone.first.weight)


@pytest.mark.parametrize("name", KEEPS_OUTPUT)
def test_output_and_class_are_those_of_the_pretrained_backbone(backbone, features, name: str) -> None:
    before, kind = features(backbone), type(backbone)
    attached = attach(backbone, _options(name))
    assert (features(backbone) - before).abs().max() <= 1e-5
    assert type(attached.backbone) is kind
    assert attached.backbone is backbone


@pytest.mark.parametrize("name", KEEPS_OUTPUT)
@torch.no_grad()
def test_output_in_single_precision_differs_by_rounding_only(small_backbone, image, name: str) -> None:
    before = small_backbone(image).feature_maps[-1]
    attach(small_backbone, _options(name))
    assert (small_backbone(image).feature_maps[-1] - before).abs().max() <= 1e-5


@pytest.mark.parametrize(("name", "kept"), [("soma", slice(-RANK, None)), ("pissa", slice(RANK))])
def test_update_is_the_minor_or_major_part_of_every_adapted_weight(backbone, name: str, kept: slice) -> None:
    pretrained = copy.deepcopy(backbone)
    attached = attach(backbone, _options(name))
    for layer_name in attached.layers:
        weight = pretrained.get_submodule(layer_name).weight.detach().flatten(1)  # a kernel as out x (in k k)
        layer = low_rank_layer(backbone, layer_name)
        update = _update(layer, ALPHA / RANK)
        exact = 1e-6 if name == "soma" else 1e-4  # PEFT decomposes in single precision
        np.testing.assert_allclose(update, _truncated_svd(weight, kept), atol=exact, err_msg=layer_name)
        residual = layer.get_base_layer().weight.detach().double().flatten(1).numpy()
        np.testing.assert_allclose(residual + update, weight.numpy(), atol=1e-6, err_msg=layer_name)


def test_soma_takes_the_minor_and_not_the_major_part(tiny) -> None:
    pretrained, backbone = tiny("dinov2"), tiny("dinov2")
    attached = attach(backbone, _options("soma"))
    for name in attached.layers:
        update = _update(low_rank_layer(backbone, name), ALPHA / RANK)
        spectrum = np.linalg.svd(pretrained.get_submodule(name).weight.detach().numpy(), compute_uv=False)
        np.testing.assert_allclose(np.linalg.norm(update, 2), spectrum[-RANK], rtol=1e-4)
        assert np.linalg.norm(update, 2) < spectrum[RANK - 1]


@pytest.mark.parametrize("start", ["pissa", "olora", "mica"])
def test_start_of_a_method_that_peft_has_is_the_one_of_peft(tiny, start: str) -> None:
    ours, theirs = tiny("dinov2"), tiny("dinov2")
    attached = attach(ours, _options(start))
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(attached.layers), init_lora_weights=start)
    inject_adapter_in_model(config, theirs)
    for name in attached.layers:
        mine, stock = low_rank_layer(ours, name), low_rank_layer(theirs, name)
        for own, other in zip(factors(mine), factors(stock), strict=True):
            torch.testing.assert_close(own, other, rtol=0, atol=0)
        torch.testing.assert_close(mine.get_base_layer().weight, stock.get_base_layer().weight, atol=1e-6, rtol=0)


def test_as_released_the_factors_are_unrelated_to_the_weight_and_the_weight_is_whole(tiny) -> None:
    pretrained, backbone = tiny("dinov2"), tiny("dinov2")
    attached = attach(backbone, _options("soma_as_released"))
    for name in attached.layers:
        weight, layer = pretrained.get_submodule(name).weight, low_rank_layer(backbone, name)
        torch.testing.assert_close(layer.get_base_layer().weight, weight, rtol=0, atol=0)
        minor, update = _truncated_svd(weight, slice(-RANK, None)), _update(layer, ALPHA / RANK)
        cosine = (minor * update).sum() / np.linalg.norm(minor) / np.linalg.norm(update)
        assert abs(cosine) < 0.5


def test_rank_ramp_gives_every_block_its_rank_and_keeps_the_output(tiny, features) -> None:
    backbone = tiny("dinov2")
    before = features(backbone)
    attached = attach(backbone, SoMA(rank=2, alpha=4, rank_ramp={1: 3, 2: 6}, first_block=0))
    ranks = {name.split(".")[2]: factors(low_rank_layer(backbone, name))[0].shape[0] for name in attached.layers}
    assert ranks == {"0": 2, "1": 3, "2": 6}
    scalings = {low_rank_layer(backbone, name).scaling["default"] for name in attached.layers}
    assert scalings == {4 / 2, 4 / 3, 4 / 6}
    assert (features(backbone) - before).abs().max() <= 1e-5


def test_dropout_acts_on_the_low_rank_branch_in_training_only(tiny, image) -> None:
    backbone = tiny("dinov2")
    before = backbone(image).feature_maps[-1]
    attach(backbone, _options("soma", dropout=0.5))
    torch.testing.assert_close(backbone(image).feature_maps[-1], before, atol=1e-5, rtol=1e-5)
    backbone.train()
    first, second = (backbone(image).feature_maps[-1] for _ in range(2))
    assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["soma", "lora", "pissa"])
@pytest.mark.parametrize("train_bias", [True, False])
def test_gradients_reach_exactly_what_trains(small_backbone, name: str, train_bias: bool, image) -> None:
    backbone, pretrained = small_backbone, copy.deepcopy(small_backbone)
    attached = attach(backbone, _options(name, train_bias=train_bias))
    expected = {f"{layer}.lora_{x}.default.weight" for layer in attached.layers for x in "AB"}
    if train_bias:
        with_bias = [layer for layer in attached.layers if pretrained.get_submodule(layer).bias is not None]
        expected |= {f"{layer}.base_layer.bias" for layer in with_bias}
    sum(feature.square().mean() for feature in backbone(image).feature_maps).backward()
    assert {n for n, p in backbone.named_parameters() if p.grad is not None} == expected
    assert attached.trained_parameters().keys() == expected


@pytest.mark.parametrize("name", ["soma", "lora"])
def test_first_blocks_are_untouched(tiny, name: str) -> None:
    pretrained, backbone = tiny("swin"), tiny("swin")
    attached = attach(backbone, _options(name, first_block=1))
    adapted = set(attached.layers)
    for target in find_targets(pretrained):
        assert (target.name in adapted) == (target.block >= 1)
        if target.block < 1:
            torch.testing.assert_close(backbone.get_submodule(target.name).weight, target.module.weight)


def test_soma_skips_a_third_of_the_blocks_by_itself(tiny) -> None:
    attached = attach(tiny("dinov2"), _options("soma"))
    assert sorted({name.split(".")[2] for name in attached.layers}) == ["1", "2"]


def test_full_trains_everything_and_frozen_nothing(tiny) -> None:
    backbone = tiny("dinov2")
    everything = {name for name, _ in backbone.named_parameters()}
    assert attach(backbone, _options("full")).trained_parameters().keys() == everything
    assert attach(tiny("dinov2"), _options("frozen")).trained_count == 0


def test_count_is_of_factors_and_biases(tiny) -> None:
    attached = attach(tiny("dinov2"), _options("soma", first_block=2))
    low_rank = 4 * RANK * (24 + 24) + 2 * RANK * (24 + 96)
    assert attached.trained_count == low_rank + 4 * 24 + 96 + 24


def test_kernels_are_decomposed_over_their_flattened_inputs() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pwconv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.pwconv2 = nn.Conv2d(8, 6, 1)

    network = nn.Sequential(Block())
    pretrained = copy.deepcopy(network)
    image = torch.rand(1, 3, 9, 9)
    attached = attach(network, MethodOptions(rank=3, alpha=6.0, first_block=0))
    for name in attached.layers:
        weight, layer = pretrained.get_submodule(name).weight, low_rank_layer(network, name)
        minor = _truncated_svd(weight.flatten(1), slice(-3, None))
        np.testing.assert_allclose(_update(layer, 2.0), minor, atol=1e-6)
        torch.testing.assert_close(layer(image), pretrained.get_submodule(name)(image), atol=1e-6, rtol=0)
        image = layer(image)


def test_layers_that_get_no_adapter_are_said() -> None:
    network = nn.Sequential(nn.ModuleDict({"conv1": nn.Conv2d(4, 4, 1), "conv2": nn.Conv2d(4, 4, 3, groups=2)}))
    with pytest.warns(UserWarning, match=r"1 layers get no adapter, .* of a kind that cannot have one: 0.conv2"):
        attached = attach(network, SoMA(rank=2))
    assert attached.layers == ("0.conv1",)


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_where_every_layer_of_the_roles_has_its_adapter(small_backbone) -> None:
    attach(small_backbone, _options("soma"))
    network = nn.Sequential(nn.ModuleDict({"pwconv1": nn.Linear(4, 4), "conv2": nn.Conv2d(4, 4, 3, groups=2)}))
    attach(network, SoMA(rank=2, roles=["fc1"]))


@pytest.mark.parametrize("name", ["norm", "lora"])
def test_layers_keep_the_mode_that_they_were_in(name: str) -> None:
    network = nn.Sequential(nn.ModuleDict({"conv1": nn.Conv2d(4, 4, 1), "bn1": nn.BatchNorm2d(4)}))
    network[0].eval()
    attach(network, _options(name))
    assert network.training
    assert not any(module.training for module in network[0].modules())


def test_current_weights_are_decomposed(tiny) -> None:
    backbone = tiny("dinov2")
    name = "encoder.layer.2.mlp.fc1"
    with torch.no_grad():
        backbone.get_submodule(name).weight.normal_(generator=torch.Generator().manual_seed(3))
    changed = backbone.get_submodule(name).weight.clone()
    attach(backbone, _options("soma"))
    update = _update(low_rank_layer(backbone, name), ALPHA / RANK)
    np.testing.assert_allclose(update, _truncated_svd(changed, slice(-RANK, None)), atol=1e-6)


def test_rank_deficient_weights_keep_their_output(tiny, features) -> None:
    backbone = tiny("dinov2")
    for target in find_targets(backbone):
        with torch.no_grad():
            target.module.weight[2:] = 0.0
    before = features(backbone)
    with pytest.warns(UserWarning, match=r"\d+ layers have components of zero, .* soma starts as LoRA does: encoder"):
        attach(backbone, _options("soma"))
    assert (features(backbone) - before).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", ["zero", "rank 2", "rank 2 in bfloat16"])
@pytest.mark.parametrize("method", LOW_RANK)
def test_a_weight_without_components_to_tune_trains_all_the_same(method, kind) -> None:
    """As one of a zero-initialised projection: each part of the update gets a gradient, and the output stays."""
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 12)), torch.randn(7, 12)
    weight = torch.randn(12, 2) @ torch.randn(2, 16) if kind != "zero" else torch.zeros(12, 16)
    network[2].weight.data.copy_(weight.bfloat16().float() if "bfloat16" in kind else weight)
    before = network(x)
    options = MethodOptions(name=method, rank=4, first_block=0, layers={"fc2": ["2"]}, roles=["fc2"], train_bias=False)
    if (method, kind) == ("dora", "zero"):
        with pytest.raises(AdapterError, match=r"layer '2' has rows of zeros, whose length dora would divide by"):
            attach(network, options)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attach(network, options)
    if METHODS[method].keeps_output:
        torch.testing.assert_close(network(x), before, atol=1e-6, rtol=1e-5)
    (network(x) - 1).square().mean().backward()
    A, B = factors(low_rank_layer(network, "2"))
    moved = A.grad.norm(dim=1) + (0 if B.grad is None else B.grad.norm(dim=0))
    assert (moved > 1e-5 * moved.max()).all()
    assert moved.max() > 0


def test_sound_weights_are_not_told_of(tiny) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attach(tiny("dinov2"), _options("soma"))


@pytest.mark.parametrize("method", ["soma", "pissa", "olora"])
def test_weights_that_are_not_loaded_are_refused(method) -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(12, 16))
    with pytest.raises(AdapterError, match=r"layer '0' is on the meta device, .* load the weights first"):
        attach(network, MethodOptions(name=method, rank=2, layers={"fc1": ["0"]}, roles=["fc1"]))


def test_bfloat16_weights_are_kept_and_factors_are_float32(tiny) -> None:
    pretrained, backbone = tiny("dinov2").bfloat16(), tiny("dinov2").bfloat16()
    attached = attach(backbone, _options("soma"))
    for name in attached.layers:
        layer, weight = low_rank_layer(backbone, name), pretrained.get_submodule(name).weight.detach()
        assert layer.get_base_layer().weight.dtype == torch.bfloat16
        assert {p.dtype for p in factors(layer)} == {torch.float32}
        update = _update(layer, ALPHA / RANK)
        np.testing.assert_allclose(update, _truncated_svd(weight, slice(-RANK, None)), atol=1e-6)
        residual = layer.get_base_layer().weight.detach().double().numpy()
        rounding = 2**-8 * np.abs(weight.double().numpy()).max()
        np.testing.assert_allclose(residual + update, weight.double().numpy(), atol=rounding)


@pytest.mark.parametrize(("method", "dtype", "said"), [
    ("soma", torch.float16, True), ("full", torch.float16, True), ("frozen", torch.float16, False),
    ("lora", torch.float16, False), ("full", torch.bfloat16, False),
])  # fmt: skip
def test_it_is_said_what_would_be_trained_in_float16(tiny, method: str, dtype: torch.dtype, said: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        attach(tiny("dinov2").to(dtype), _options(method))
    found = [str(each.message) for each in caught if "trained in float16" in str(each.message)]
    assert bool(found) == said
    assert all("load the network in float32 or bfloat16" in message for message in found)


@pytest.mark.parametrize("name", LOW_RANK)
def test_same_seed_same_start_and_global_random_state_undisturbed(tiny, name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = attach(tiny("dinov2"), _options(name), seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again = attach(tiny("dinov2"), _options(name), seed=1).state_dict()
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_seed_moves_the_random_factor_of_lora(tiny) -> None:
    key = "trained.encoder.layer.0.mlp.fc1.lora_A.default.weight"
    one, other = (attach(tiny("dinov2"), _options("lora"), seed=seed).state_dict()[key] for seed in (1, 2))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("first", ["soma", "norm", "bias", "full", "frozen"])
def test_second_adapter_is_refused(tiny, first: str) -> None:
    backbone = tiny("dinov2")
    attach(backbone, _options(first))
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(AdapterError, match="carries an adapter already; fold it in or load the network again"):
        attach(backbone, _options("frozen"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_state_of_another_method_leaves_the_backbone_as_it_was(tiny) -> None:
    state = attach(tiny("dinov2"), _options("soma", rank_ramp={2: 2})).state_dict()
    backbone, untouched = tiny("dinov2"), tiny("dinov2")
    for other in (_options("lora"), _options("soma"), _options("norm"), _options("full")):
        with pytest.raises(AdapterError, match=r"the checkpoint|checkpoint tensor"):
            attach(backbone, other, state=state)
        assert list(backbone.state_dict()) == list(untouched.state_dict())
        assert all(torch.equal(t, untouched.state_dict()[name]) for name, t in backbone.state_dict().items())
        assert all(parameter.requires_grad for parameter in backbone.parameters())
        attach(copy.deepcopy(backbone), other)
