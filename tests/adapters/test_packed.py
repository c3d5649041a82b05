"""Low-rank layers under autocast, against float64 and beside PEFT's own layer."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest
import stand_in
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from minorkey.adapters.attach import attach
from minorkey.adapters.merged_linear import MergedLinear
from minorkey.adapters.options import MethodOptions
from minorkey.adapters.packed import pack, packed_weight
from minorkey.adapters.peft_layers import tuner_layers
from minorkey.adapters.shared_input import share_inputs

QKV = ("q", "k", "v")
WIDE, OUT, RANK = 64, 48, 5


class Attention(nn.Module):
    """Three projections of one input, side by side."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDE, OUT, bias=bias) for _ in QKV)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., 64)` to `(..., 144)`."""
        return torch.cat([self.q(x), self.k(x), self.v(x)], dim=-1)


def adapted(cls: type = MergedLinear, *, share: bool = True, bias: bool = True, **settings: object) -> nn.Module:
    """With random updates of a tenth of the weights' size, biases that train, and one input for all three layers."""
    torch.manual_seed(0)
    network = Attention(bias).requires_grad_(False)
    options = {"r": RANK, "lora_alpha": 10, "init_lora_weights": False, "bias": "lora_only", **settings}
    inject_adapter_in_model(LoraConfig(target_modules=list(QKV), **options), network)
    layers = list(tuner_layers(network).values())
    for layer in layers:
        layer.__class__ = cls
        layer.lora_B["default"].weight.data *= 0.1
        if bias:
            layer.base_layer.bias.requires_grad_(True)
    if share and cls is MergedLinear:
        share_inputs(layers)
    return network


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Input and the gradient of the output."""
    generator = torch.Generator().manual_seed(1)
    x, dy = torch.randn(2, 100, WIDE, generator=generator), torch.randn(2, 100, 3 * OUT, generator=generator)
    return x.to(dtype).requires_grad_(), dy.bfloat16().to(dtype)


def low(dtype: torch.dtype = torch.bfloat16) -> torch.autocast:
    return torch.autocast("cpu", dtype)


def results(network: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], precision: object) -> list[Tensor]:
    """Output, gradient of the input, gradients of the parameters."""
    dtype = torch.float32 if isinstance(precision, torch.autocast) else torch.float64
    x, dy = inputs(dtype)
    with precision:
        y = network(x)
    return [y, *torch.autograd.grad((y.to(dtype) * dy).sum(), [x, *parameters])]


def trained(network: nn.Module) -> list[nn.Parameter]:
    return [p for p in network.parameters() if p.requires_grad]


def errors(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    return [((one - other).norm() / other.norm()).item() for one, other in zip(found, exact, strict=True)]


@contextmanager
def operations(name: str) -> Iterator[list[str]]:
    """The calls of an operation of torch."""
    calls: list[str] = []

    class Listener(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func._schema.name == f"aten::{name}":
                calls.append(name)
            return func(*args, **(kwargs or {}))

    with Listener():
        yield calls


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_as_near_to_float64_as_the_layer_of_peft(precision, share, bias):
    exact = adapted(Linear, bias=bias).double()
    expected = results(exact, trained(exact), nullcontext())
    far = {}
    for cls in (MergedLinear, Linear):
        network = adapted(cls, share=share, bias=bias)
        found = results(network, trained(network), low(precision))
        assert found[0].dtype == precision
        assert {each.dtype for each in found[1:]} == {torch.float32}
        far[cls] = errors(found, expected)
    assert max(far[Linear]) < 0.01
    assert all(ours <= 1.1 * theirs for ours, theirs in zip(far[MergedLinear], far[Linear], strict=True))


def test_readers_of_one_input_give_what_they_give_alone():
    both = [adapted(share=share) for share in (True, False)]
    shared, alone = (results(network, trained(network), low()) for network in both)
    for one, other in zip(shared, alone, strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=0.02, atol=0.02 * other.abs().max().item())


def kept_bytes(network: nn.Module, x: Tensor) -> int:
    """Memory of what the forward pass keeps for the backward pass, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with low(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = network(x)
    assert y.requires_grad
    return sum(storage.nbytes() for place, storage in kept.items() if place not in own)


def test_one_packed_input_is_kept_for_all_readers():
    x, _ = inputs()
    packed, spare = x.numel() // WIDE * 2, 16
    weights = 3 * OUT * (WIDE + spare) * 2
    assert kept_bytes(adapted(), x) <= packed * (WIDE + spare) + weights + spare * WIDE * 2
    assert kept_bytes(adapted(share=False), x) >= 3 * packed * WIDE


def test_an_input_changed_in_place_is_packed_again():
    network, alone = adapted(), adapted(share=False)
    x = inputs()[0].detach()
    with low(), torch.no_grad():
        network.q(x)
        x.mul_(2)
        assert torch.allclose(network.k(x), alone.k(x), rtol=0.02, atol=0.02)


def test_an_input_of_its_own_is_packed_for_the_layer_that_reads_it():
    network, alone = adapted(), adapted(share=False)
    x, other = inputs()[0], torch.randn(3, WIDE)
    with low():
        pairs = [(layers.q(x), layers.k(other), layers.v(other), layers.q(other)) for layers in (network, alone)]
    for one, expected in zip(*pairs, strict=True):
        assert torch.allclose(one, expected, rtol=0.02, atol=0.02)


def test_nothing_packed_is_kept_between_passes():
    network = adapted()
    x = inputs()[0].detach().clone()
    with low():
        network.q(x)
    shared = network.q.shared
    assert shared._packing is not None
    del x
    assert shared._packing is None


def test_a_block_that_is_computed_again_gives_the_same_gradients():
    network = adapted()
    plain = results(network, trained(network), low())
    again = results(lambda x: checkpoint(network, x, use_reentrant=False), trained(network), low())
    for one, other in zip(plain, again, strict=True):
        assert torch.equal(one, other)


def test_a_layer_may_be_used_twice_and_sees_its_next_values():
    network = adapted()
    layer, (x, _) = network.q, inputs()
    B = layer.lora_B["default"].weight
    with low():
        twice = layer(x) + layer(2 * x)
        (of_twice,) = torch.autograd.grad(twice.float().sum(), B)
        (of_once,) = torch.autograd.grad(layer(3 * x).float().sum(), B)
        before = layer(x)
        with torch.no_grad():
            B.add_(1.0)
        assert not torch.allclose(layer(x), before, atol=0.1)
    assert torch.allclose(of_twice, of_once, rtol=0.05, atol=0.02 * of_once.abs().max().item())


def test_a_small_update_is_not_lost_as_in_a_merged_weight():
    layer = adapted().q
    W, A, B = layer.base_layer.weight, layer.lora_A["default"].weight, layer.lora_B["default"].weight
    with torch.no_grad():
        B.mul_(1e-4 * W.norm() / (2 * B @ A).norm())
        update = 2 * B @ A
        part = layer.shared.part(layer, "default")
        matrix = packed_weight([part], RANK + 3, torch.bfloat16)
        kept = matrix[:, WIDE : WIDE + RANK].float() @ A.bfloat16().float()
        merged = (W + update).bfloat16().float() - W.bfloat16().float()
    assert torch.equal(matrix[:, :WIDE], W.bfloat16())
    assert errors([kept], [update])[0] < 0.01
    assert errors([merged], [update])[0] > 1


def test_peft_switches_it_off_and_merges_it():
    network, (x, _) = adapted(), inputs()
    layer = network.q
    with low(), torch.no_grad():
        adapted_output = layer(x)
        layer.enable_adapters(False)
        assert torch.equal(layer(x), layer.base_layer(x))
        layer.enable_adapters(True)
        layer.merge()
        assert torch.equal(layer(x), layer.base_layer(x))
        assert torch.allclose(layer(x), adapted_output, rtol=0.03, atol=0.03)
        layer.unmerge()
        assert torch.equal(layer(x), adapted_output)


def test_peft_goes_its_own_way_with_variants_and_dropout():
    x = inputs()[0]
    for settings in ({"use_dora": True}, {"lora_dropout": 0.5}):
        network = adapted(**settings).train()
        with low():
            torch.manual_seed(0)
            found = network(x)
            for layer in tuner_layers(network).values():
                layer.__class__ = Linear
            torch.manual_seed(0)
            assert torch.equal(found, network(x))


class Fused(nn.Module):
    """A projection of query, key and value in one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleDict({"attn": nn.ModuleDict({"qkv": nn.Linear(WIDE, 3 * OUT)})})])

    def forward(self, x: Tensor) -> Tensor:
        """`(..., 64)` to `(..., 144)`."""
        return self.blocks[0]["attn"]["qkv"](x)


def fused(roles: tuple[str, ...] = QKV) -> nn.Module:
    torch.manual_seed(0)
    network = Fused()
    attach(network, MethodOptions(name="lora", rank=RANK, roles=roles, train_bias=True))
    stand_in.train(network)
    return network


def test_a_fused_projection_is_one_product_again():
    network, x = fused(), inputs()[0]
    with low(), operations("addmm") as products:
        y = network(x)
    assert len(products) == 1
    assert y.shape == (2, 100, 3 * OUT)
    with low(), operations("addmm") as products:
        fused(("q", "v"))(x)
    assert len(products) == 3


@pytest.mark.parametrize("roles", [QKV, ("q", "v")])
def test_a_fused_projection_is_as_near_to_float64_as_the_layers_of_peft(roles):
    networks = {cls: fused(roles) for cls in (MergedLinear, Linear)}
    for layer in tuner_layers(networks[Linear]).values():
        layer.__class__ = Linear
    exact = copy.deepcopy(networks[Linear]).double()
    expected = results(exact, trained(exact), nullcontext())
    far = {cls: errors(results(network, trained(network), low()), expected) for cls, network in networks.items()}
    assert max(far[Linear]) < 0.01
    assert all(ours <= 1.1 * theirs for ours, theirs in zip(far[MergedLinear], far[Linear], strict=True))


def test_a_copy_computes_with_its_own_weights():
    network, (x, _) = adapted(), inputs()
    with low(), torch.no_grad():
        before = network(x)
        other = copy.deepcopy(network)
        assert torch.equal(other(x), before)
        for parameter in other.parameters():
            parameter.zero_()
        assert other(x).abs().max() == 0
        assert torch.equal(network(x), before)


def test_every_family_trains_as_with_the_layers_of_peft(small_backbone, image):
    attach(small_backbone, MethodOptions(name="lora", rank=3))
    stand_in.train(small_backbone)
    found = {}
    for cls in (MergedLinear, Linear):
        for layer in tuner_layers(small_backbone).values():
            if isinstance(layer, Linear):
                layer.__class__ = cls
        with low():
            last = small_backbone(image).feature_maps[-1].float()
        parameters = trained(small_backbone)
        found[cls] = [last, *torch.autograd.grad(last.square().mean(), parameters, allow_unused=True)]
    assert [g is None for g in found[MergedLinear]] == [g is None for g in found[Linear]]
    ours, theirs = (torch.cat([g.flatten() for g in found[cls] if g is not None]) for cls in (MergedLinear, Linear))
    assert (ours - theirs).norm() < 0.1 * theirs.norm()


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_what_the_memory_held_before_is_not_seen(precision, monkeypatch):
    """An inner size of 88 is one of those for which the product of a CPU in bfloat16 does not overwrite NaN."""
    x, A = torch.randn(130, 88), torch.randn(8, 88)

    def recycled(like: Tensor, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.full(shape, float("nan"), dtype=dtype)

    monkeypatch.setattr(Tensor, "new_empty", recycled)
    assert pack(x, [A], precision).isfinite().all()
