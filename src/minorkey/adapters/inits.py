"""Low-rank factors from singular triplets, and the residual weight they leave."""

from torch import Tensor

from minorkey.adapters.decompose import as_matrix


def low_rank_factors(U: Tensor, S: Tensor, Vh: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
    """Split triplets evenly into factors: `s B A = U diag(S) Vh` (SoMA, section 3; PiSSA, equations 2 and 3).

    A triplet with singular value zero gives a zero row of A and column of B, which no gradient moves.

    Args:
        U: `(out, r)` left singular vectors.
        S: `(r,)` singular values.
        Vh: `(r, in)` right singular vectors.
        scaling: the factor `s = alpha / r` of the update.

    Returns:
        `A (r, in)` and `B (out, r)`.
    """
    root = (S / scaling).sqrt()
    return root[:, None] * Vh, U * root


def residual_weight(weight: Tensor, A: Tensor, B: Tensor, scaling: float) -> Tensor:
    """`W - s B A`, in float64 on the CPU and rounded once, so that every device gives the same.

    Args:
        weight: a weight `(out, in)` or kernel `(out, in, k, k)`.
        A: `(r, in)` or `(r, in, k, k)`.
        B: `(out, r)` or `(out, r, 1, 1)`.
        scaling: the factor `s` of the update.

    Returns:
        The residual, with the shape, type and device of `weight`.
    """
    update = scaling * as_matrix(B.detach().cpu().double()) @ as_matrix(A.detach().cpu().double())
    residual = as_matrix(weight.detach().cpu().double()) - update
    return residual.reshape(weight.shape).to(weight)
