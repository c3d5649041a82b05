"""Singular triplets of a weight, from either end of its spectrum."""

from typing import Literal

import torch
from torch import Tensor

from minorkey.errors import AdapterError

End = Literal["minor", "major"]
Triplets = tuple[Tensor, Tensor, Tensor]

# Triplets found through the Gram matrix are kept where |W^T U - V S| <= TOLERANCE |S|.
TOLERANCE = 1e-7


def as_matrix(weight: Tensor) -> Tensor:
    """View a weight as a matrix: a linear layer's as it is, a kernel `(out, in, k, k)` as `(out, in k k)`."""
    return weight.flatten(1)


def computed_on(weight: Tensor) -> torch.device:
    """Where float64 is computed for a weight: on its own device if that is a GPU of NVIDIA or AMD, else on the CPU."""
    return weight.device if weight.is_cuda else torch.device("cpu")


def singular_triplets(weight: Tensor, rank: int, which: End = "minor") -> Triplets:
    """The `rank` smallest ("minor") or largest ("major") singular triplets of a matrix.

    The vectors of the shorter side are eigenvectors of the Gram matrix, of which only the wanted end is
    computed; the other side and the values follow from a singular value decomposition of `W V` (Rayleigh-Ritz).
    The Gram matrix squares the condition number, so the result is verified, and where the weight is too badly
    conditioned for it, or a large part of the spectrum is wanted, a full decomposition takes its place. All
    arithmetic is in float64: in float32 the Gram matrix gives wrong minor triplets.

    The same weight gives the same triplets, bit for bit, on one machine and device; no random numbers are
    drawn. The sign of each triplet makes the largest entry of its left vector positive. Where the last value
    that is kept equals the first that is left out, the choice between them is arbitrary, as in any
    decomposition.

    Args:
        weight: `(out, in)`, any floating type, of any rank; decomposed on its own device if that is a GPU.
        rank: number of triplets, 1 ... min(out, in).
        which: the end of the spectrum.

    Returns:
        `U (out, rank)`, `S (rank,)` descending and `Vh (rank, in)`, float64 on the CPU, with
        `weight ~ U diag(S) Vh` when `rank` is full.

    Raises:
        AdapterError: the rank is not within the weight's, or the weight holds NaN or infinity.
    """
    _check(weight, rank)
    matrix = weight.detach().to(computed_on(weight)).double()  # in this order: MPS has no float64
    wide = matrix.shape[0] < matrix.shape[1]
    tall = (matrix.T if wide else matrix).contiguous()
    U, S, Vh = _through_gram(tall, rank, which) or _full(tall, rank, which)
    return _signed(Vh.T, S, U.T) if wide else _signed(U, S, Vh)


def _check(weight: Tensor, rank: int) -> None:
    shape = tuple(weight.shape)
    if not 1 <= rank <= min(shape):
        raise AdapterError(f"rank {rank} of a weight of shape {shape}: expected 1 to {min(shape)}; set another rank")
    if not weight.isfinite().all():
        raise AdapterError(f"a weight of shape {shape} holds NaN or infinity: expected finite values; load it again")


def _through_gram(tall: Tensor, rank: int, which: End) -> Triplets | None:
    """The triplets by way of `W^T W`, or None where a full decomposition is the better or the only way."""
    if 4 * rank > tall.shape[1]:
        return None
    V = _gram_vectors(tall, rank, which)
    if V.shape[1] < rank:  # LAPACK may count short where many eigenvalues are equal
        return None
    U, S, turn = torch.linalg.svd(tall @ V, full_matrices=False)
    Vh = turn @ V.T
    # W V = U S holds by construction. What is left to see is whether U is a set of singular vectors too: it is
    # not where S is so small that W V is mostly rounding.
    residual = torch.linalg.matrix_norm(U.T @ tall - S[:, None] * Vh)
    return (U, S, Vh) if residual <= TOLERANCE * S.norm() else None


def _gram_vectors(tall: Tensor, rank: int, which: End) -> Tensor:
    """Eigenvectors `(n, rank)` of the Gram matrix `W^T W` of `W (m, n)`, from one end of its spectrum."""
    size = tall.shape[1]
    first = 0 if which == "minor" else size - rank
    if tall.is_cuda:
        return torch.linalg.eigh(tall.T @ tall).eigenvectors[:, first : first + rank]
    from scipy.linalg import eigh
    from scipy.linalg.blas import dsyrk

    # Torch computes all eigenvectors and the whole of a symmetric product; LAPACK and BLAS need not.
    upper = dsyrk(1.0, tall.numpy().T)
    wanted = [first, first + rank - 1]
    _, vectors = eigh(upper, lower=False, subset_by_index=wanted, overwrite_a=True, check_finite=False)
    return torch.from_numpy(vectors)


def _full(tall: Tensor, rank: int, which: End) -> Triplets:
    U, S, Vh = torch.linalg.svd(tall, full_matrices=False)
    kept = slice(len(S) - rank, None) if which == "minor" else slice(rank)
    return U[:, kept], S[kept], Vh[kept]


def _signed(U: Tensor, S: Tensor, Vh: Tensor) -> Triplets:
    """The triplets on the CPU, the largest entry of each left vector positive."""
    largest = U.gather(0, U.abs().argmax(dim=0, keepdim=True)).squeeze(0)
    sign = torch.where(largest < 0, -1.0, 1.0).to(U)
    return (U * sign).cpu(), S.cpu(), (Vh * sign[:, None]).cpu()
