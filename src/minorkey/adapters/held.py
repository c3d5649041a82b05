"""Frozen weights of a network kept in a low precision while it trains under autocast, which would round them anyway.

Autocast rounds a float32 weight at every pass, and keeps both. Here it is rounded once, on the device, the adapted
ones in the packed form that their layers compute with (`packed`); the exact values wait on the host and come back at
the end, or for a while by `exact`. Biases, norms, embeddings and whatever trains stay as they are.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from minorkey.adapters.fused import SplitProjection
from minorkey.adapters.merged_linear import LOW, MergedLinear, shared_input
from minorkey.adapters.packed import HeldWeight, packed_weight
from minorkey.adapters.targets import READS_WEIGHTS

MARK = "_minorkey_held"
"""Attribute of a network whose frozen weights are held in a low precision."""


@contextmanager
def held_in(network: nn.Module, dtype: torch.dtype | None, model: nn.Module | None = None) -> Iterator[None]:
    """Keep the frozen weights of linear layers and convolutions in a low precision; exact again afterwards.

    For passes under autocast of that precision: others need `exact`. Merging an adapter brings the exact weights back
    first.

    Args:
        network: on its device, its adapter attached.
        dtype: bfloat16 or float16; any other or None: nothing is done.
        model: what `exact` will be asked for, where the network is none of its modules: the encoder of an EoMT is a
            view of them. None: the network, or whatever it is a module of.
    """
    if dtype not in LOW:
        yield
        return
    held, marked = _Held(network, dtype), network if model is None else model
    marked.__dict__[MARK] = held
    try:
        yield
    finally:
        held.end()
        del marked.__dict__[MARK]


@contextmanager
def exact(network: nn.Module) -> Iterator[None]:
    """The exact weights for a while, in a network or a part of it that may be held in a low precision."""
    held = [module.__dict__[MARK] for module in network.modules() if MARK in module.__dict__]
    for each in held:
        each.put_exact()
    try:
        yield
    finally:
        for each in held:
            each.put_low()


class _Held:
    """The weights of a network in two precisions, one of them in use."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        self._exact: dict[Tensor, Tensor] = {}  # on the host
        self._low: dict[Tensor, Tensor] = {}
        self._products: list[tuple[tuple[MergedLinear, ...], HeldWeight]] = []
        for layers in _products(network):
            self._pack(layers, dtype)
        for weight in _frozen_weights(network):
            if weight not in self._low:
                self._low[weight] = weight.detach().to(dtype)
        for weight in self._low:
            self._exact[weight] = weight.detach().cpu()
        self.put_low()

    def _pack(self, layers: Sequence[MergedLinear], dtype: torch.dtype) -> None:
        shared, (adapter,) = shared_input(layers[0]), layers[0].active_adapters
        parts, spare = [shared.part(layer, adapter) for layer in layers], shared.spare(adapter)
        with torch.no_grad():
            matrix = packed_weight(parts, spare, dtype)
        self._products.append((tuple(layers), HeldWeight(matrix, self.end)))
        rows = matrix[:, : matrix.shape[1] - spare].split([part.B.shape[0] for part in parts])
        self._low |= {layer.get_base_layer().weight: own for layer, own in zip(layers, rows, strict=True)}

    def put_low(self) -> None:
        for weight, value in self._low.items():
            weight.data = value
        for layers, held in self._products:
            shared_input(layers[0]).held[layers] = held

    def put_exact(self) -> None:
        for layers, _ in self._products:
            shared_input(layers[0]).held.pop(layers, None)
        for weight, value in self._exact.items():
            weight.data = value.to(weight.device)

    def end(self) -> None:
        """The exact weights for good."""
        self.put_exact()
        for each in (self._exact, self._low, self._products):
            each.clear()


def _products(network: nn.Module) -> Iterator[tuple[MergedLinear, ...]]:
    """The adapted layers by what is computed as one product: a fused projection, or a layer by itself."""
    seen: set[nn.Module] = set()
    for module in network.modules():
        parts = tuple(module.children()) if isinstance(module, SplitProjection) else (module,)
        layers = tuple(part for part in parts if isinstance(part, MergedLinear) and part.is_plain())
        if len(layers) == len(parts) and not seen & set(layers) and all(_frozen(each.base_layer) for each in layers):
            seen |= set(layers)
            yield layers


def _frozen_weights(network: nn.Module) -> Iterator[Tensor]:
    """Weights of layers that no adapter is on, and that are computed by their own forward pass.

    Not those of patch embeddings: DINOv3 takes the precision of its rotary tables from theirs.
    """
    apart = (*READS_WEIGHTS, BaseTunerLayer)
    within = {part for module in network.modules() if isinstance(module, apart) for part in module.modules()}
    for name, module in network.named_modules():
        kept = module in within or "embed" in name
        if isinstance(module, nn.Linear | nn.Conv2d) and not kept and _frozen(module):
            yield module.weight


def _frozen(layer: nn.Linear | nn.Conv2d) -> bool:
    weight, plain = layer.weight, type(layer) in (nn.Linear, nn.Conv2d) and type(layer.weight.data) is Tensor
    return plain and not weight.requires_grad and weight.dtype == torch.float32
