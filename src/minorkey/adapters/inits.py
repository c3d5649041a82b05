"""Where low-rank factors start, and the residual weight they leave: functions of a weight."""

import math

import torch
from peft import LoraConfig
from torch import Tensor, nn

from minorkey.adapters.decompose import as_matrix, computed_on, singular_triplets
from minorkey.adapters.peft_layers import factors, inject, low_rank_layer
from minorkey.adapters.specs import Factors, OwnStart, Start
from minorkey.adapters.triplet_cache import cached_triplets
from minorkey.errors import OutsideError

ROUNDING = 2.0**-24
"""Share of its norm that a float32 weight of lower rank has, at most, in place of a singular value of 0."""


def start_factors(weight: Tensor, start: Start | OwnStart, rank: int, scaling: float) -> Factors:
    """The factors that an adapter of this weight starts from; random ones from torch's default generator.

    Args:
        weight: `(out, in)` or `(out, in, k, k)`, the pretrained values.
        start: which start.
        rank: r, 1 ... the smaller side of the matrix.
        scaling: the factor s of the update.

    Raises:
        OutsideError: a start of someone's own gives other shapes.
    """
    matrix = as_matrix(weight.detach())
    if callable(start):
        return _own_factors(matrix, start, rank, scaling)
    if start == "minor":
        return low_rank_factors(*cached_triplets(matrix, rank), scaling)
    if start == "random_minor":
        return low_rank_factors(*singular_triplets(_fresh_weight(matrix.shape).to(matrix.device), rank), scaling)
    return _peft_factors(matrix, start, rank, scaling)


def low_rank_factors(U: Tensor, S: Tensor, Vh: Tensor, scaling: float) -> Factors:
    """Split triplets evenly into factors: `s B A = U diag(S) Vh` (SoMA, section 3; PiSSA, equations 2 and 3).

    A triplet with singular value zero gives a zero row of A and column of B, which no gradient moves (`dead_parts`).

    Args:
        U: `(out, r)` left singular vectors.
        S: `(r,)` singular values.
        Vh: `(r, in)` right singular vectors.
        scaling: the factor s of the update.

    Returns:
        `A (r, in)` and `B (out, r)`.
    """
    root = (S / scaling).sqrt()
    return root[:, None] * Vh, U * root


def dead_parts(weight: Tensor, A: Tensor, B: Tensor, scaling: float) -> Tensor:
    """Which of the r parts of an update start where no gradient moves them: at 0, up to rounding, in both factors.

    That is how an adapter starts that takes over components of a weight of zeros, or of more of them than its rank.

    Args:
        weight: `(out, in)` or `(out, in, k, k)`.
        A: `(r, in)`.
        B: `(out, r)`.
        scaling: the factor s of the update.

    Returns:
        `(r,)` bool.
    """
    least = ROUNDING * float(as_matrix(weight.detach()).float().norm())
    return (scaling * A.square().sum(1) <= least) & (scaling * B.square().sum(0) <= least)


def as_lora_starts(A: Tensor, B: Tensor, parts: Tensor) -> Factors:
    """Factors of which some parts `(r,)` bool start as LoRA's do: a random row of A, and a column of B that is 0."""
    fresh = _fresh_weight(A.shape).to(A)
    return torch.where(parts[:, None], fresh, A), torch.where(parts, 0.0, B)


def residual_weight(weight: Tensor, A: Tensor, B: Tensor, scaling: float) -> Tensor:
    """`W - s B A`, in float64 and rounded once.

    Computed on the GPU that a weight is on; processes with GPUs of one kind get the same bits. A CPU adds the r
    products in another order, which shows in the rounding of about one value in 10^8.

    Args:
        weight: a weight `(out, in)` or kernel `(out, in, k, k)`.
        A: `(r, in)` or `(r, in, k, k)`.
        B: `(out, r)` or `(out, r, 1, 1)`.
        scaling: the factor `s` of the update.

    Returns:
        The residual, with the shape, type and device of `weight`.
    """
    W, A, B = (as_matrix(each.detach().to(computed_on(weight)).double()) for each in (weight, A, B))
    residual = W - scaling * B @ A
    return residual.reshape(weight.shape).to(weight.dtype).to(weight.device)


def _fresh_weight(shape: torch.Size) -> Tensor:
    """What `nn.Linear` or `nn.Conv2d` of this size would have drawn when it was built."""
    return nn.init.kaiming_uniform_(torch.empty(shape), a=math.sqrt(5))


def _own_factors(matrix: Tensor, start: OwnStart, rank: int, scaling: float) -> Factors:
    A, B = start(matrix, rank, scaling)
    wanted = (rank, matrix.shape[1]), (matrix.shape[0], rank)
    if (tuple(A.shape), tuple(B.shape)) != wanted:
        raise OutsideError(
            f"the start of the method gives A {tuple(A.shape)} and B {tuple(B.shape)} for a weight "
            f"{tuple(matrix.shape)}; expected {wanted[0]} and {wanted[1]}"
        )
    return A, B


def _peft_factors(matrix: Tensor, start: Start, rank: int, scaling: float) -> Factors:
    """PEFT's own initialisation of a linear layer with this weight, which is copied."""
    out, columns = matrix.shape
    holder = nn.ModuleDict({"layer": nn.Linear(columns, out, bias=False, device="meta")})
    holder["layer"].weight = nn.Parameter(matrix.clone().float())
    config = LoraConfig(r=rank, lora_alpha=scaling * rank, init_lora_weights=start, target_modules=["layer"])
    inject(holder, config, {"layer"})
    A, B = factors(low_rank_layer(holder, "layer"))
    return A.detach(), B.detach()
