from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from minorkey.adapters.decompose import End, Triplets, as_matrix, singular_triplets
from minorkey.errors import AdapterError

VIT_TINY = Path(__file__).parents[3] / "shared" / "weights" / "vit-tiny-in1k" / "model.safetensors"

# With few triplets of many the Gram matrix is used, else a full decomposition: (shape, rank).
CASES = {
    "tall": ((96, 40), 5),
    "wide": ((40, 96), 5),
    "square": ((64, 64), 8),
    "tall, many": ((12, 5), 3),
    "wide, many": ((5, 12), 3),
    "row": ((1, 7), 1),
    "column": ((7, 1), 1),
    "one entry": ((1, 1), 1),
}
ENDS: list[End] = ["minor", "major"]


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def _with_spectrum(rows: int, columns: int, values: Tensor) -> Tensor:
    """A float64 matrix with random singular vectors and these singular values."""
    left, right = torch.linalg.qr(_random(rows, len(values)).double())[0], _random(columns, len(values)).double()
    return left * values.double() @ torch.linalg.qr(right)[0].T


def _numpy_part(weight: Tensor, rank: int, which: End) -> tuple[np.ndarray, np.ndarray]:
    """Singular values of one end and the part `U S Vh` of the matrix, by numpy in float64."""
    u, s, vh = np.linalg.svd(weight.double().numpy(), full_matrices=False)
    kept = slice(len(s) - rank, None) if which == "minor" else slice(rank)
    return s[kept], u[:, kept] * s[kept] @ vh[kept]


def _assert_triplets_of(weight: Tensor, triplets: Triplets, slack: float = 1e-12) -> None:
    """Orthonormal vectors, values that descend, and `W v = s u`, `W^T u = s v` but for `slack` of the largest value."""
    U, S, Vh = triplets
    matrix, eye = weight.double(), torch.eye(len(S), dtype=torch.float64)
    torch.testing.assert_close(U.T @ U, eye, atol=1e-12, rtol=0)
    torch.testing.assert_close(Vh @ Vh.T, eye, atol=1e-12, rtol=0)
    assert (S >= 0).all()
    assert (S.diff() <= 0).all()
    bound = slack * float(torch.linalg.matrix_norm(matrix, 2))
    assert float((matrix @ Vh.T - U * S).abs().max()) <= bound
    assert float((U.T @ matrix - S[:, None] * Vh).abs().max()) <= bound


@pytest.mark.parametrize(("shape", "rank"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("which", ENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_triplets_are_those_of_numpy(shape: tuple[int, int], rank: int, which: End, dtype: torch.dtype) -> None:
    weight = _random(*shape).to(dtype)
    U, S, Vh = singular_triplets(weight, rank, which)
    values, part = _numpy_part(weight, rank, which)
    assert U.dtype == S.dtype == Vh.dtype == torch.float64
    np.testing.assert_allclose(S, values, rtol=1e-10)
    np.testing.assert_allclose(U * S @ Vh, part, atol=1e-10)
    _assert_triplets_of(weight, (U, S, Vh))


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (8, 8), (1, 1), (1, 6)], ids=str)
@pytest.mark.parametrize("which", ENDS)
def test_full_rank_gives_the_matrix_back(shape: tuple[int, int], which: End) -> None:
    weight = _random(*shape)
    U, S, Vh = singular_triplets(weight, min(shape), which)
    torch.testing.assert_close(U * S @ Vh, weight.double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("exponent", range(0, 17, 2))
@pytest.mark.parametrize("shape", [(80, 60), (60, 80), (60, 60)], ids=str)
def test_minor_part_is_right_whatever_the_condition(shape: tuple[int, int], exponent: int) -> None:
    weight = _with_spectrum(*shape, torch.logspace(0, -exponent, 60, dtype=torch.float64))
    if exponent == 0:
        weight += 0.1 * _random(*shape)
    U, S, Vh = triplets = singular_triplets(weight, 6)
    _, part = _numpy_part(weight, 6, "minor")
    # Below, what numpy itself rounds: it knows a small part only to 1e-16 of the largest value.
    allowed = 1e-6 * np.linalg.norm(part) + 1e-14
    assert np.linalg.norm((U * S @ Vh).numpy() - part) <= allowed
    _assert_triplets_of(weight, triplets, slack=1e-7 * float(S.norm()) + 1e-12)


def test_values_far_below_the_reach_of_the_gram_matrix_are_right() -> None:
    weight = _with_spectrum(50, 40, torch.cat([torch.ones(36), torch.tensor([1e-9, 1e-10, 1e-11, 1e-12])]))
    _, S, _ = singular_triplets(weight, 4)
    np.testing.assert_allclose(S, [1e-9, 1e-10, 1e-11, 1e-12], rtol=1e-2)


@pytest.mark.parametrize("which", ENDS)
@pytest.mark.parametrize(
    "weight",
    [_random(60, 3) @ _random(3, 40), _random(40, 3) @ _random(3, 60), torch.zeros(40, 60), torch.zeros(1, 1)],
    ids=["rank 3, tall", "rank 3, wide", "zero", "zero, one entry"],
)
def test_rank_deficient_weight_has_orthonormal_vectors(weight: Tensor, which: End) -> None:
    rank = min(8, *weight.shape)
    U, S, Vh = singular_triplets(weight, rank, which)
    _assert_triplets_of(weight, (U, S, Vh), slack=1e-7)
    beyond = S if which == "minor" else S[3:]
    assert (beyond <= 1e-6 * weight.norm()).all()


def test_column_that_is_zero_is_a_minor_right_vector() -> None:
    weight = _random(60, 40)
    weight[:, 7] = 0
    U, S, Vh = singular_triplets(weight, 4)
    assert S[-1] < 1e-12
    torch.testing.assert_close(Vh[-1].abs(), torch.eye(40, dtype=torch.float64)[7], atol=1e-10, rtol=0)
    _assert_triplets_of(weight, (U, S, Vh))


@pytest.mark.parametrize("which", ENDS)
def test_equal_values_at_the_cut_still_give_triplets(which: End) -> None:
    orthogonal = torch.linalg.qr(_random(40, 40).double())[0]
    U, S, Vh = singular_triplets(orthogonal, 5, which)
    torch.testing.assert_close(S, torch.ones(5, dtype=torch.float64))
    _assert_triplets_of(orthogonal, (U, S, Vh))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_of_the_weight_only_scales_the_values(scale: float) -> None:
    weight = _random(64, 48).double()
    U, S, Vh = singular_triplets(weight, 4)
    U2, S2, Vh2 = singular_triplets(weight * scale, 4)
    torch.testing.assert_close((U2, S2 / scale, Vh2), (U, S, Vh), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("shape", [(40, 40), (48, 40), (40, 48)], ids=str)
@pytest.mark.parametrize("rank", [6, 40])
def test_largest_entry_of_each_left_vector_is_positive(shape: tuple[int, int], rank: int) -> None:
    U, _, _ = singular_triplets(_random(*shape), rank)
    largest = U.gather(0, U.abs().argmax(dim=0, keepdim=True))
    assert (largest > 0).all()
    negated, _, _ = singular_triplets(-_random(*shape), rank)
    torch.testing.assert_close(U, negated)


def test_same_weight_gives_the_same_bits_and_leaves_random_state_and_weight_alone() -> None:
    weight, state = _random(64, 48), torch.get_rng_state()
    first, again = singular_triplets(weight, 4), singular_triplets(weight.clone(), 4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(weight, _random(64, 48))


def test_memory_layout_of_the_weight_does_not_matter() -> None:
    weight = _random(64, 48)
    parameter = torch.nn.Parameter(weight.T.contiguous().T)
    for a, b in zip(singular_triplets(weight, 4), singular_triplets(parameter, 4), strict=True):
        assert torch.equal(a, b)
        assert not b.requires_grad


def test_minor_part_of_trained_weights() -> None:
    if not VIT_TINY.is_file():
        pytest.skip(f"no pretrained weights at {VIT_TINY}")
    matrices = [
        value
        for name, value in load_file(VIT_TINY).items()
        if value.ndim == 2 and any(f"layer.{block}." in name for block in (0, 11))
    ]
    assert len(matrices) == 12
    for weight in matrices:
        U, S, Vh = singular_triplets(weight, 16)
        _, part = _numpy_part(weight, 16, "minor")
        assert np.linalg.norm((U * S @ Vh).numpy() - part) <= 1e-9 * np.linalg.norm(part)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("which", ENDS)
def test_on_a_gpu_as_on_the_cpu(which: End) -> None:
    weight = _random(128, 64)
    U, S, Vh = singular_triplets(weight.cuda(), 8, which)
    assert U.device.type == S.device.type == Vh.device.type == "cpu"
    torch.testing.assert_close((U, S, Vh), singular_triplets(weight, 8, which), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("rank", [0, -1, 6])
def test_rank_outside_the_weights_is_refused(rank: int) -> None:
    with pytest.raises(AdapterError, match=rf"rank {rank} of a weight of shape \(5, 12\): expected 1 to 5; set"):
        singular_triplets(_random(5, 12), rank)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weight_that_is_not_finite_is_refused(value: float) -> None:
    weight = _random(5, 12)
    weight[2, 3] = value
    with pytest.raises(AdapterError, match=r"shape \(5, 12\) holds NaN or infinity: expected finite values; load"):
        singular_triplets(weight, 2)


def test_kernel_is_flattened_over_inputs() -> None:
    kernel = _random(4, 3, 2, 2)
    torch.testing.assert_close(as_matrix(kernel)[1], kernel[1].reshape(-1))
    assert as_matrix(_random(4, 3)).shape == (4, 3)
