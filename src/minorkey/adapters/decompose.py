"""Singular triplets of a weight, from either end of its spectrum."""

from typing import Literal

import torch
from torch import Tensor

End = Literal["minor", "major"]


def as_matrix(weight: Tensor) -> Tensor:
    """View a weight as a matrix: a linear layer's as it is, a kernel `(out, in, k, k)` as `(out, in k k)`."""
    return weight.flatten(1)


def singular_triplets(weight: Tensor, rank: int, which: End = "minor") -> tuple[Tensor, Tensor, Tensor]:
    """The `rank` smallest ("minor") or largest ("major") singular triplets of a matrix.

    Computed in float64 on the CPU, whatever the weight's precision and device: the same weight gives the
    same triplets everywhere, and the smallest ones are right, which they are not from the Gram matrix in
    float32 or from a randomised SVD. The sign of each triplet makes the largest entry of its left vector
    positive.

    Args:
        weight: `(out, in)`, any floating type, of any rank.
        rank: number of triplets, 1 ... min(out, in).
        which: the end of the spectrum.

    Returns:
        `U (out, rank)`, `S (rank,)` descending and `Vh (rank, in)`, float64 on the CPU, with
        `weight ~ U diag(S) Vh` when `rank` is full.
    """
    U, S, Vh = torch.linalg.svd(weight.detach().to("cpu", torch.float64), full_matrices=False)
    kept = slice(len(S) - rank, None) if which == "minor" else slice(rank)
    U, S, Vh = U[:, kept], S[kept], Vh[kept]
    largest = U.gather(0, U.abs().argmax(dim=0, keepdim=True)).squeeze(0)
    sign = torch.where(largest < 0, -1.0, 1.0).to(U.dtype)
    return U * sign, S, Vh * sign[:, None]
