"""A linear layer of PEFT with a low-rank update, multiplied once instead of three times."""

from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.lora import Linear
from peft.tuners.lora.variants import DoraLinearVariant
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from minorkey.adapters.shared_input import SharedInput, share_inputs
from minorkey.system.precision import HALF

LOW = tuple(HALF.values())


class MergedLinear(Linear):
    """`y = (W + s B A) x + b` at the cost of a plain layer, where PEFT adds a branch as large as the output.

    In float32 and float64 the factors are multiplied into the frozen weight on the way; the merged weight is made anew
    for the backward pass, never kept. Under autocast, whose rounding of `W + s B A` would lose small updates, they
    make the product longer: see `packed`. Same parameters, names and functions as PEFT's layer; values agree to
    rounding.

    Of DoRA (arXiv 2402.09353) each output i is multiplied by `m_i / |(W + s B A)_i|` before the bias is added, a length
    that learns over one that, as in the paper's section 4.3, no gradient flows through.

    PEFT's own way is kept where these would not be the same or not be cheaper: for other variants, with dropout while
    training, in a network that is of low precision itself, where there are few rows, and under autocast, of DoRA
    always, else inside of `torch.compile`.
    """

    shared: SharedInput | None = None  # with the layers that read what this one reads; set by `share_inputs`

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """`(..., in)` to `(..., out)`."""
        if args or kwargs or not self._updates():
            return super().forward(x, *args, **kwargs)
        (name,) = self.active_adapters
        variant = self.lora_variant.get(name)
        if variant is None and packs([self], x):
            return packed_linear([self], x)
        if not self._merges(x) or not (variant is None or isinstance(variant, DoraLinearVariant)):
            return super().forward(x)
        base, A, B = self.get_base_layer(), self.lora_A[name].weight, self.lora_B[name].weight
        m = None if variant is None else self.lora_magnitude_vector[name].weight
        return _MergedProduct.apply(x, base.weight, base.bias, A, B, self.scaling[name], m)

    def is_plain(self) -> bool:
        """Whether one low-rank update of a frozen linear layer is all that it computes."""
        return self._updates() and self.active_adapters[0] not in self.lora_variant

    def _updates(self) -> bool:
        """Whether it computes one low-rank update, or a variant of one, of a frozen linear layer."""
        active = self.active_adapters
        if self.disable_adapters or self.merged or len(active) != 1 or active[0] not in self.lora_A:
            return False
        (name,) = active
        base, dropout = self.get_base_layer(), self.lora_dropout[name]
        return (
            type(base) is nn.Linear
            and not base.weight.requires_grad
            and self.lora_B[name].bias is None
            and not (dropout.training and getattr(dropout, "p", 0))
        )

    def merge(self, *args: Any, **kwargs: Any) -> None:
        """Merge the update into the exact weight."""
        for held in list(shared_input(self).held.values()):
            held.release()
        super().merge(*args, **kwargs)

    def _merges(self, x: Tensor) -> bool:
        base, (name,) = self.get_base_layer(), self.active_adapters
        return (
            x.dtype in (torch.float32, torch.float64)
            and x.dtype == base.weight.dtype == self.lora_A[name].weight.dtype
            and not torch.is_autocast_enabled(x.device.type)
            and x.dim() > 1
            and x.numel() // base.in_features * (base.in_features + base.out_features) >= base.weight.numel()
        )


def packs(layers: Sequence[MergedLinear], x: Tensor) -> bool:
    """Whether plain layers that read `x` are computed as one longer product: in the low precision of autocast."""
    if not torch.is_autocast_enabled(x.device.type) or torch.compiler.is_compiling():
        return False
    low, (name, *others) = torch.get_autocast_dtype(x.device.type), {layer.active_adapters[0] for layer in layers}
    return (
        low in LOW
        and all(layer in shared_input(layer).layers for layer in layers)  # a replica shares the original's
        and x.dim() > 1
        and x.dtype in (torch.float32, low)
        and not others
        and all(name in layer.lora_A for layer in shared_input(layers[0]).layers)
        and shared_input(layers[0]).layers[0].lora_A[name].weight.dtype in (torch.float32, low)
    )


def packed_linear(layers: Sequence[MergedLinear], x: Tensor) -> Tensor:
    """The outputs of plain layers that share their input, side by side: `(..., in)` to `(..., out ...)`."""
    low = torch.get_autocast_dtype(x.device.type)
    return shared_input(layers[0]).linear(layers, layers[0].active_adapters[0], x, low)


def shared_input(layer: MergedLinear) -> SharedInput:
    """Where a layer takes what it reads."""
    if layer.shared is None:
        share_inputs([layer])
    assert layer.shared is not None
    return layer.shared


class _MergedProduct(torch.autograd.Function):
    """`x (W + s B A)^T + b`, whose gradients of `A` and `B` go through the rank, not through the whole weight.

    With lengths `m`, the product is multiplied by `m / |W + s B A|`, the norms of rows, before `b` is added.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, W: Tensor, b: Tensor | None, A: Tensor, B: Tensor, s: float, m: Tensor | None
    ) -> Tensor:
        ctx.s = s
        merged = torch.addmm(W, B, A, alpha=s)
        if m is None:
            ctx.save_for_backward(x, W, A, B)
            return F.linear(x, merged, b)
        norms, product = torch.linalg.vector_norm(merged, dim=1), F.linear(x, merged)
        ctx.save_for_backward(x, W, A, B, m, norms, product)
        return product * (m / norms) if b is None else torch.addcmul(b, product, m / norms)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, W, A, B, *lengths = ctx.saved_tensors
        of_x, _, of_b, of_A, of_B, _, of_m = ctx.needs_input_grad
        dx = db = dA = dB = dm = None
        if of_b:
            db = dy.flatten(0, -2).sum(0)
        if lengths:
            m, norms, product = lengths
            if of_m:
                dm = (dy * product).flatten(0, -2).sum(0) / norms
            dy = dy * (m / norms)
        if of_x:
            dx = dy @ torch.addmm(W, B, A, alpha=ctx.s)
        x, dy = x.flatten(0, -2), dy.flatten(0, -2)
        if of_A:
            dA = ctx.s * ((dy @ B).t() @ x)
        if of_B:
            dB = ctx.s * (dy.t() @ (x @ A.t()))
        return dx, None, db, dA, dB, None, dm
