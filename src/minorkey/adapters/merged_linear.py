"""A linear layer of PEFT with a low-rank update, multiplied once instead of three times."""

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class MergedLinear(Linear):
    """`y = (W + s B A) x + b`: the factors are multiplied into the frozen weight on the way.

    What goes through the layer then has the cost of a plain one, forward and backward to its input, where PEFT adds
    a branch whose intermediate results are as large as the output; only the gradients of `A` and `B` cost extra. The
    merged weight is made anew for the backward pass, never kept. Same parameters, names and functions as PEFT's layer;
    values agree to rounding.

    PEFT's own way is kept where merging would not be the same or not be cheaper: for variants (DoRA ...), with dropout
    while training, in a precision lower than float32, whose rounding of `W + s B A` loses small updates, and where
    there are few rows.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """`(..., in)` to `(..., out)`."""
        if args or kwargs or not self._merges(x):
            return super().forward(x, *args, **kwargs)
        (name,) = self.active_adapters
        base, A, B = self.get_base_layer(), self.lora_A[name].weight, self.lora_B[name].weight
        return _MergedProduct.apply(x, base.weight, base.bias, A, B, self.scaling[name])

    def _merges(self, x: Tensor) -> bool:
        active = self.active_adapters
        if self.disable_adapters or self.merged or len(active) != 1 or active[0] not in self.lora_A:
            return False
        (name,) = active
        base, dropout = self.get_base_layer(), self.lora_dropout[name]
        return (
            type(base) is nn.Linear
            and not base.weight.requires_grad
            and name not in self.lora_variant
            and self.lora_B[name].bias is None
            and not (dropout.training and getattr(dropout, "p", 0))
            and x.dtype in (torch.float32, torch.float64)
            and x.dtype == base.weight.dtype == self.lora_A[name].weight.dtype
            and not torch.is_autocast_enabled(x.device.type)
            and x.dim() > 1
            and x.numel() // base.in_features * (base.in_features + base.out_features) >= base.weight.numel()
        )


class _MergedProduct(torch.autograd.Function):
    """`x (W + s B A)^T + b`, whose gradients of `A` and `B` go through the rank, not through the whole weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, b: Tensor | None, A: Tensor, B: Tensor, s: float) -> Tensor:
        ctx.save_for_backward(x, W, A, B)
        ctx.s = s
        return F.linear(x, torch.addmm(W, B, A, alpha=s), b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, W, A, B = ctx.saved_tensors
        of_x, _, of_b, of_A, of_B, _ = ctx.needs_input_grad
        dx = db = dA = dB = None
        if of_x:
            dx = dy @ torch.addmm(W, B, A, alpha=ctx.s)
        x, dy = x.flatten(0, -2), dy.flatten(0, -2)
        if of_A:
            dA = ctx.s * ((dy @ B).t() @ x)
        if of_B:
            dB = ctx.s * (dy.t() @ (x @ A.t()))
        if of_b:
            db = dy.sum(0)
        return dx, None, db, dA, dB, None
