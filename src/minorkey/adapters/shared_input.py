"""Layers of a block that read one tensor, as query, key and value do, and the packed form of that tensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from peft.tuners.lora import Linear
from torch import Tensor

from minorkey.adapters.packed import HeldWeight, Part, pack, product, spare_columns


@dataclass(eq=False)
class _Packing:
    """A tensor in its packed form, for those of the layers that have not read it yet."""

    x: "ref[Tensor]"
    made_with: tuple[Any, ...]
    packed: Tensor
    waiting: list[Linear]


class SharedInput:
    """Low-rank layers that may be given the same tensor: then it is packed once, with the columns of all.

    A layer that is given another tensor, or one that it has read before, has it packed for itself. What is packed is
    let go as soon as every layer has read it or the tensor is gone, so that a pass that computes a block again finds
    none, and no memory is kept between passes.
    """

    def __init__(self, layers: Sequence[Linear]) -> None:
        self.layers = list(layers)
        self.held: dict[tuple[Linear, ...], HeldWeight] = {}  # by the layers of a product
        self._packing: _Packing | None = None

    def __getstate__(self) -> dict[str, Any]:  # a copy has nothing packed, and weights of its own
        return {"layers": self.layers, "held": {}, "_packing": None}

    def linear(self, layers: Sequence[Linear], adapter: str, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The outputs of some of the layers side by side, `(..., in)` to `(..., out ...)`."""
        parts = [self.part(layer, adapter) for layer in layers]
        return product(self._packed(layers, adapter, x, dtype), parts, self._held(layers, dtype))

    def spare(self, adapter: str) -> int:
        """Columns after those of x."""
        return spare_columns([layer.r[adapter] for layer in self.layers])

    def part(self, layer: Linear, adapter: str) -> Part:
        """What a layer puts into the product."""
        base, before = layer.get_base_layer(), self.layers[: self.layers.index(layer)]
        return Part(
            weight=base.weight,
            bias=base.bias,
            B=layer.lora_B[adapter].weight,
            scaling=layer.scaling[adapter],
            first=sum(other.r[adapter] for other in before),
        )

    def _held(self, layers: Sequence[Linear], dtype: torch.dtype) -> HeldWeight | None:
        held = self.held.get(tuple(layers))
        return held if held is not None and held.matrix.dtype == dtype else None

    def _packed(self, layers: Sequence[Linear], adapter: str, x: Tensor, dtype: torch.dtype) -> Tensor:
        """`[x, h ...]`, `(..., in + spare)`."""
        factors = [each.lora_A[adapter].weight for each in self.layers]
        if len(layers) == len(self.layers) or x.is_inference():  # where nothing counts what is written into x
            return pack(x, factors, dtype)
        made_with = (x._version, *(A._version for A in factors), dtype, torch.is_grad_enabled())
        last = self._packing
        fits = last is not None and last.x() is x and last.made_with == made_with
        if last is None or not fits or any(layer not in last.waiting for layer in layers):
            last = _Packing(ref(x, self._forget), made_with, pack(x, factors, dtype), [*self.layers])
        last.waiting = [layer for layer in last.waiting if layer not in layers]
        self._packing = last if last.waiting else None
        return last.packed

    def _forget(self, gone: "ref[Tensor]") -> None:
        if self._packing is not None and self._packing.x is gone:
            self._packing = None


def share_inputs(layers: Sequence[Linear]) -> None:
    """Let layers take what they read from one place."""
    shared = SharedInput(layers)
    for layer in layers:
        layer.__dict__["shared"] = shared
