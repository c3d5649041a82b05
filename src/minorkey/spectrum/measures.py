"""Measures of a weight's spectrum and of an update to it: pure functions on matrices.

Notation: a weight `W (out, in)` with singular values `s`, descending; an update `dW = W1 - W0`. Energy is the
squared Frobenius norm, the sum of the squared singular values.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """The part of an update's energy that lies in a pair of subspaces, each value in [0, 1].

    With orthonormal `U (out, r)` on the output side and `V (in, r)` on the input side.
    """

    left: float  # |U^T dW|^2 / |dW|^2: what it writes lies in U, whatever it reads
    right: float  # |dW V|^2 / |dW|^2: what it reads lies in V, whatever it writes
    both: float  # |U^T dW V|^2 / |dW|^2

    @property
    def either(self) -> float:
        """In the subspace on at least one side: `1 - |(1 - U U^T) dW (1 - V V^T)|^2 / |dW|^2`.

        A low-rank update that starts from B and A in those subspaces has all of its first step here, since
        `d(BA) = dB A + B dA`.
        """
        return self.left + self.right - self.both


NOTHING = Share(0.0, 0.0, 0.0)

INTRUDER_TOP = 10
"""How many leading directions of a trained weight are looked at."""


def singular_values(matrix: Tensor) -> Tensor:
    """Singular values `(min(out, in),)`, descending, in float64.

    The smallest are the point here, and float32 does not resolve them below `1e-7` of the largest.
    """
    return torch.linalg.svdvals(_tall(matrix.double()))


def singular_vectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Left `(out, n)` and right `(in, n)` singular vectors in float64, by descending singular value."""
    wide = matrix.shape[0] < matrix.shape[1]
    U, _, Vh = torch.linalg.svd(_tall(matrix.double()), full_matrices=False)
    return (Vh.T, U) if wide else (U, Vh.T)


def _tall(matrix: Tensor) -> Tensor:
    """The matrix or its transpose: LAPACK takes two to four times as long for a wide one."""
    return matrix.T if matrix.shape[0] < matrix.shape[1] else matrix


def effective_rank(values: Tensor) -> float:
    """`exp(-sum p log p)` with `p = s / sum s`: 1 for rank one, n for n equal singular values; 0 for zero.

    Source: Roy & Vetterli, "The effective rank", EUSIPCO 2007, definition 1.
    """
    total = values.sum()
    if total == 0:
        return 0.0
    return float(torch.special.entr(values / total).sum().exp())


def stable_rank(values: Tensor) -> float:
    """`|W|_F^2 / |W|_2^2 = sum s^2 / max s^2`, at most the rank; 0 for zero.

    Source: Rudelson & Vershynin, "Sampling from large matrices", J. ACM 2007, section 1.
    """
    largest = values.max()
    return float(values.square().sum() / largest.square()) if largest > 0 else 0.0


def minor_share(values: Tensor, rank: int) -> float:
    """Share of the energy in the `rank` smallest singular values, in [0, rank / n]; 0 for zero."""
    energy = values.square()
    return float(energy[len(energy) - rank :].sum() / energy.sum()) if energy.sum() > 0 else 0.0


def relative_size(update: Tensor, weight: Tensor) -> float:
    """`|dW|_F / |W|_F`; 1 where a zero weight was changed: all that it is now is new."""
    size, before = (torch.linalg.matrix_norm(matrix.double()) for matrix in (update, weight))
    return float(size / (before if before > 0 else size)) if size > 0 else 0.0


def subspace_share(update: Tensor, left: Tensor, right: Tensor) -> Share:
    """How much of an update's energy lies in given subspaces.

    Args:
        update: `(out, in)`.
        left: orthonormal columns `(out, r)`.
        right: orthonormal columns `(in, r)`.

    Returns:
        The shares; all 0 for an update of zero.
    """
    energy = update.square().sum()
    if energy == 0:
        return NOTHING
    written, read = left.T @ update, update @ right
    parts = (written, read, written @ right)
    return Share(*(float(part.square().sum() / energy) for part in parts))


def random_share(shape: tuple[int, int], rank: int) -> Share:
    """What `subspace_share` is on average for an update of independent normal entries: the reference.

    Any r of the `out` directions hold `r / out` of its energy, and likewise `r / in`.
    """
    out, columns = shape
    return Share(rank / out, rank / columns, rank**2 / (out * columns))


def intruder_count(before: Tensor, after: Tensor, top: int = INTRUDER_TOP, threshold: float = 0.5) -> int:
    """Intruder dimensions: leading directions of a trained weight that resemble none of the pretrained one.

    A left singular vector `y_j` of the trained weight, `j <= top`, is an intruder if `max_i |x_i . y_j|` over
    all left singular vectors `x_i` of the pretrained weight is below the threshold.

    Args:
        before: left singular vectors `(out, n)` of the pretrained weight.
        after: left singular vectors `(out, m)` of the trained weight, by descending singular value.
        top: how many of `after` are looked at.
        threshold: largest cosine, in (0, 1], that still counts as a stranger.

    Returns:
        Their number, 0 ... min(top, m).

    Source: Shuttleworth et al., "LoRA vs full fine-tuning: an illusion of equivalence", arXiv 2410.21228,
    algorithm 1.
    """
    closest = (before.T @ after[:, :top]).abs().amax(dim=0)
    return int((closest < threshold).sum())
