"""Projections that hold query, key and value in one matrix: split for adaptation, fused again afterwards."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from minorkey.adapters.hooks import hand_over_hooks
from minorkey.adapters.merged_linear import MergedLinear, packed_linear, packs

_APART = "qkv_bias_separate"  # timm's switch: call the projection, then add the bias
_WAS_JOINED = "_minorkey_qkv_bias_joined"


class SplitProjection(nn.Module):
    """A fused linear projection as separate linear layers over equal shares of its rows; the same function.

    Each part is decomposed and adapted by itself, as the three matrices that they are (SoMA, section 4).
    """

    def __init__(self, fused: nn.Linear, parts: tuple[str, ...]) -> None:
        super().__init__()
        self.in_features, self.out_features = fused.in_features, fused.out_features
        self.parts = parts
        weights = fused.weight.detach().chunk(len(parts))
        biases: Iterable[Tensor | None] = [None] * len(parts)
        if fused.bias is not None:
            biases = fused.bias.detach().chunk(len(parts))
        for name, weight, bias in zip(parts, weights, biases, strict=True):
            self.add_module(name, _linear(weight.clone(), None if bias is None else bias.clone()))
        self.train(fused.training)
        hand_over_hooks(fused, self)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in)` to `(..., out)`; under autocast as one product again, where every part is adapted."""
        parts: list[Any] = list(self.children())
        if all(isinstance(part, MergedLinear) and part.is_plain() for part in parts) and packs(parts, x):
            return packed_linear(parts, x)
        return torch.cat([part(x) for part in parts], dim=-1)

    def fuse(self) -> nn.Linear:
        """One linear layer again, with the weights that the parts have now."""
        parts = [module for module in self.children() if isinstance(module, nn.Linear)]
        assert len(parts) == len(self.parts), "adapters must be gone before"
        biases = [part.bias.detach() for part in parts if part.bias is not None]
        fused = _linear(torch.cat([part.weight.detach() for part in parts]), torch.cat(biases) if biases else None)
        hand_over_hooks(self, fused)
        return fused.train(self.training)


def split(network: nn.Module, layer: str, parts: tuple[str, ...]) -> None:
    """Put a `SplitProjection` in the place of a fused layer."""
    fused = network.get_submodule(layer)
    assert isinstance(fused, nn.Linear)
    network.set_submodule(layer, SplitProjection(fused, parts))
    owner = network.get_submodule(layer.rpartition(".")[0])
    # timm's EVA, BEiT and Swinv2 read the weight past the layer to add a bias of their own, unless told not to.
    if owner.__dict__.get(_APART) is False and getattr(owner, "q_bias", None) is not None:
        owner.__dict__[_APART] = True
        owner.__dict__[_WAS_JOINED] = True


def fuse_all(network: nn.Module) -> None:
    """Put the fused layers back in their places; their parameters ask for no gradient."""
    for name, module in list(network.named_modules()):
        if isinstance(module, SplitProjection):
            network.set_submodule(name, module.fuse())
        if module.__dict__.pop(_WAS_JOINED, False):
            module.__dict__[_APART] = False


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer around existing tensors, without drawing random ones first."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer
