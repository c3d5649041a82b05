"""Low-rank layers in a low precision: one product that is longer by the rank, forward and backward.

    y = [x, x A^T] [W, s B]^T + b                   forward
    [dx, dh] = dy [W, s B],   dx += dh A            backward
    dA = dh^T x,   dB = s dy^T h                    with h = x A^T

Layers that read the same x (query, key, value) share what is packed: `[x, h_q, h_k, h_v]`, of which each uses the
columns of its own `s B` and has zeros against the others. So x is cast and kept for the backward pass once.

`W + s B A` is never rounded to the low precision as a whole, which would lose small updates: they have columns of
their own. A and B stay as they are (float32), with their gradients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

ALIGNED = 8  # values: rows of packed matrices begin at 16 bytes, as a GPU's matrix units want them


@dataclass(frozen=True)
class Part:
    """What one layer puts into a product: its rows of `[W, s B]`, and the columns of its rank."""

    weight: Tensor  # (out, in), frozen
    bias: Tensor | None  # (out,)
    B: Tensor  # (out, r)
    scaling: float  # s
    first: int  # its first column after those of x


def spare_columns(ranks: Sequence[int]) -> int:
    """Columns after those of x or W that hold so many ranks."""
    return -(-sum(ranks) // ALIGNED) * ALIGNED


def pack(x: Tensor, factors: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """`[x, x A^T ...]`, rounded to a precision.

    Args:
        x: `(..., in)`.
        factors: one A `(r, in)` for each layer that reads x.
        dtype: bfloat16 or float16.

    Returns:
        `(..., in + spare)`.
    """
    return _Pack.apply(x, dtype, *factors)


def packed_weight(parts: Sequence[Part], spare: int, dtype: torch.dtype) -> Tensor:
    """`[W, s B]` of some layers above each other, `(out ..., in + spare)`, made anew."""
    columns = parts[0].weight.shape[1]
    matrix = parts[0].weight.new_empty(sum(part.B.shape[0] for part in parts), columns + spare, dtype=dtype)
    for part, (rows, _) in zip(parts, _places(parts), strict=True):
        matrix[rows, :columns].copy_(part.weight)
    if len(parts) > 1 or parts[0].B.shape[1] < spare:
        matrix[:, columns:].zero_()
    write_updates(matrix, [part.B for part in parts], parts)
    return matrix


def write_updates(matrix: Tensor, factors: Sequence[Tensor], parts: Sequence[Part]) -> None:
    """Put `s B` of every part into its place in `[W, s B]`."""
    for B, (rows, columns), part in zip(factors, _places(parts), parts, strict=True):
        torch.mul(B.detach(), part.scaling, out=matrix[rows, columns])


def _places(parts: Sequence[Part]) -> list[tuple[slice, slice]]:
    """Rows and columns of `s B` of every part."""
    places, top = [], 0
    for part in parts:
        out, rank = part.B.shape
        left = part.weight.shape[1] + part.first
        places.append((slice(top, top + out), slice(left, left + rank)))
        top += out
    return places


class HeldWeight:
    """`[W, s B]` of some layers, kept from step to step; only the columns of `s B` are written anew.

    Another pass may write other values before the backward pass of this one: a teacher's. So each pass has a mark, and
    a backward pass that finds another's writes its own again.

    Args:
        matrix: `packed_weight` of the layers.
        release: gives the layers their exact weights back.
    """

    def __init__(self, matrix: Tensor, release: Callable[[], None]) -> None:
        self.matrix, self.release = matrix, release
        self.written: object = None  # the mark of the pass that was the last to write
        self.parts: Sequence[Part] = ()  # of that pass

    def write(self, factors: Sequence[Tensor], parts: Sequence[Part], mark: object = None) -> object:
        """Write `s B`, unless the pass of this mark was the last to do so. Returns the mark of the pass."""
        if mark is None or mark is not self.written:
            with torch.no_grad():
                write_updates(self.matrix, factors, parts)
            self.written, self.parts = (mark := mark or object()), parts
        return mark


def product(packed: Tensor, parts: Sequence[Part], held: HeldWeight | None = None) -> Tensor:
    """The outputs of some layers side by side.

    Args:
        packed: their input as `pack` gives it, `(..., in + spare)`.
        parts: the layers.
        held: their `[W, s B]`; None: made for this pass.

    Returns:
        `(..., out ...)` in the precision of `packed`.
    """
    biases = [part.bias for part in parts]
    return _Product.apply(packed, tuple(parts), held, *(part.B for part in parts), *biases)


class _Pack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, *factors: Tensor) -> Tensor:
        ctx.ranks, ctx.precisions = [A.shape[0] for A in factors], [x.dtype, *(A.dtype for A in factors)]
        columns, spare = x.shape[-1], spare_columns(ctx.ranks)
        A = _stacked(factors, spare, dtype)
        packed = x.new_empty(*x.shape[:-1], columns + spare, dtype=dtype)
        packed[..., :columns].copy_(x)
        rows = packed.view(-1, columns + spare)
        if packed.device.type == "cpu" and dtype != torch.float32:
            rows[:, columns:].zero_()  # of some sizes the product in half precision keeps NaN of what the memory held
        torch.mm(rows[:, :columns], A.t(), out=rows[:, columns:])
        ctx.save_for_backward(packed, A)
        return packed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        packed, A = ctx.saved_tensors
        of_x, _, *of_factors = ctx.needs_input_grad
        columns = A.shape[1]
        rows = gradient.view(-1, gradient.shape[-1])
        dh, dx = rows[:, columns:], None
        if of_x:  # in place: nobody else has this gradient, which is the sum of those that `_Product` gave
            rows[:, :columns].addmm_(dh, A)
            dx = gradient[..., :columns].to(ctx.precisions[0])
        dA: list[Tensor | None] = [None] * len(ctx.ranks)
        if any(of_factors):
            together = dh.t() @ packed.view(-1, packed.shape[-1])[:, :columns]
            dA = list(together[: sum(ctx.ranks)].split(ctx.ranks)) if len(ctx.ranks) > 1 else [together[: ctx.ranks[0]]]
        wanted = zip(dA, of_factors, ctx.precisions[1:], strict=True)
        return dx, None, *(each.to(kind) if needed and each is not None else None for each, needed, kind in wanted)


def _stacked(factors: Sequence[Tensor], spare: int, dtype: torch.dtype) -> Tensor:
    """The A of some layers above each other, with rows of zeros up to `spare`."""
    A = (torch.cat(list(factors)) if len(factors) > 1 else factors[0]).to(dtype)
    return A if A.shape[0] == spare else F.pad(A, (0, 0, 0, spare - A.shape[0]))


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, packed: Tensor, parts: tuple[Part, ...], held: HeldWeight | None, *tensors: Tensor | None
    ) -> Tensor:
        factors, biases = (
            [t for t in some if t is not None] for some in (tensors[: len(parts)], tensors[len(parts) :])
        )
        ctx.parts, ctx.held = parts, held
        if held is None:
            matrix = packed_weight(parts, packed.shape[-1] - parts[0].weight.shape[1], packed.dtype)
            ctx.save_for_backward(packed, matrix)
        else:
            matrix, ctx.mark = held.matrix, held.write(factors, parts)
            ctx.save_for_backward(packed, *factors)
        bias = None
        if biases:
            bias = (torch.cat(biases) if len(biases) > 1 else biases[0]).to(packed.dtype)
        return F.linear(packed, matrix, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        packed, *rest = ctx.saved_tensors
        if ctx.held is not None:
            ctx.held.write(rest, ctx.parts, ctx.mark)
        matrix = rest[0] if ctx.held is None else ctx.held.matrix
        of_packed, _, _, *needed = ctx.needs_input_grad
        d_packed = dy @ matrix if of_packed else None
        packed, dy = packed.flatten(0, -2), dy.flatten(0, -2)
        count = len(ctx.parts)
        gradients: list[Tensor | None] = [None] * (2 * count)
        if any(needed[:count]):
            gradients[:count] = _gradients_of_updates(dy, packed, ctx.parts)
        if any(needed[count:]):
            gradients[count:] = _gradients_of_biases(dy, ctx.parts)
        return d_packed, None, None, *(g if wanted else None for g, wanted in zip(gradients, needed, strict=True))


def _gradients_of_updates(dy: Tensor, packed: Tensor, parts: Sequence[Part]) -> list[Tensor]:
    """`s dy^T h` of every part: of the product with the columns of all, the place of its own."""
    places = _places(parts)
    first, last = min(columns.start for _, columns in places), max(columns.stop for _, columns in places)
    together, gradients = dy.t() @ packed[:, first:last], []
    for (rows, columns), part in zip(places, parts, strict=True):
        own = together[rows, columns.start - first : columns.stop - first].to(part.B.dtype)
        gradients.append(own if part.scaling == 1 else own * part.scaling)
    return gradients


def _gradients_of_biases(dy: Tensor, parts: Sequence[Part]) -> list[Tensor | None]:
    sums = dy.sum(0).split([part.B.shape[0] for part in parts])
    return [None if part.bias is None else own.to(part.bias.dtype) for own, part in zip(sums, parts, strict=True)]
