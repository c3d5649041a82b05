"""The merged low-rank layer against its formula and against PEFT's own layer."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from torch import Tensor, nn

from minorkey.adapters.attach import attach
from minorkey.adapters.merged_linear import MergedLinear
from minorkey.adapters.options import MethodOptions

MANY, FEW = 40, 2  # rows, for a layer of 8 to 6: merged, and not worth merging


def adapted(cls: type = MergedLinear, dtype: torch.dtype = torch.float64, **settings: object) -> nn.Module:
    """A linear layer of 8 to 6 with a random update of rank 3 and scaling 2."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 6, dtype=dtype)).requires_grad_(False)
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["0"], init_lora_weights=False, **settings)
    layer = inject_adapter_in_model(config, network)[0]
    layer.__class__ = cls
    return layer.to(dtype)


def rows(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, count // 2, 8, dtype=dtype, generator=torch.Generator().manual_seed(1)).requires_grad_()


def merges(layer: MergedLinear, x: Tensor) -> bool:
    return "MergedProduct" in type(layer(x).grad_fn).__name__


def test_values_and_gradients_are_those_of_the_formula():
    layer, x = adapted(), rows(MANY)
    layer.base_layer.bias.requires_grad_(True)
    W, b = layer.base_layer.weight, layer.base_layer.bias
    A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    y = layer(x)
    assert merges(layer, x)
    assert torch.allclose(y, x @ (W + 2 * B @ A).T + b, atol=1e-12)

    weights = torch.randn_like(y)
    found = torch.autograd.grad((y * weights).sum(), (x, b, A, B))
    expected = torch.autograd.grad(((x @ W.T + 2 * x @ A.T @ B.T + b) * weights).sum(), (x, b, A, B))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    assert torch.autograd.gradcheck(layer, (x,))


def test_lengths_that_learn_multiply_the_directions_of_rows():
    layer, x = adapted(use_dora=True), rows(MANY)
    layer.base_layer.bias.requires_grad_(True)
    W, b = layer.base_layer.weight, layer.base_layer.bias
    A, B, m = (
        layer.lora_A["default"].weight,
        layer.lora_B["default"].weight,
        layer.lora_magnitude_vector["default"].weight,
    )
    with torch.no_grad():
        m *= torch.linspace(0.5, 2, 6)
    y = layer(x)
    assert merges(layer, x)
    merged = W + 2 * B @ A
    expected = x @ (m / merged.detach().norm(dim=1) * merged.T) + b
    assert torch.allclose(y, expected, atol=1e-12)

    weights, wanted = torch.randn_like(y), (x, b, A, B, m)
    found = torch.autograd.grad((y * weights).sum(), wanted)
    for one, other in zip(found, torch.autograd.grad((expected * weights).sum(), wanted), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("count", [FEW, MANY])
def test_it_agrees_with_peft_in_float32(count, use_dora):
    results = {}
    for cls in (MergedLinear, Linear):
        layer, x = adapted(cls, torch.float32, use_dora=use_dora), rows(count, torch.float32)
        y = layer(x)
        y.square().sum().backward()
        results[cls] = [y, x.grad, *(p.grad for p in layer.parameters() if p.requires_grad)]
    for one, other in zip(results[MergedLinear], results[Linear], strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_what_is_kept_for_the_backward_pass_has_no_copy_of_the_weight():
    layer, x = adapted(), rows(MANY)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(x)
    parameters = {p.data_ptr() for p in layer.parameters()}
    assert sorted(t.data_ptr() in parameters for t in kept) == [False, True, True, True]  # the input, W, A, B


def test_peft_goes_its_own_way_where_merging_is_another_thing():
    assert not merges(adapted(), rows(FEW))
    assert not merges(adapted(use_dora=True), rows(FEW))
    assert not merges(adapted(lora_dropout=0.5).train(), rows(MANY))
    assert merges(adapted(lora_dropout=0.5).eval(), rows(MANY))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not merges(adapted(dtype=torch.float32), rows(MANY, torch.float32))
    layer, x = adapted(), rows(MANY)
    layer.enable_adapters(False)
    assert torch.equal(layer(x), layer.base_layer(x))


def test_a_frozen_factor_gets_no_gradient():
    layer, x = adapted(), rows(MANY)
    A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    B.requires_grad_(False)
    layer(x.detach()).sum().backward()
    assert A.grad is not None
    assert B.grad is None


def test_the_layers_of_an_attached_adapter_merge(tiny):
    backbone = tiny("swin")
    attached = attach(backbone, MethodOptions(name="lora", rank=2))
    assert {type(backbone.get_submodule(name)) for name in attached.layers} == {MergedLinear}
