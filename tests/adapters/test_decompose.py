import numpy as np
import pytest
import torch

from minorkey.adapters.decompose import as_matrix, singular_triplets

SHAPES = {"tall": (12, 5), "wide": (5, 12), "square": (8, 8)}


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("which", ["minor", "major"])
def test_triplets_are_those_of_numpy(shape: tuple[int, int], which: str) -> None:
    weight = _random(*shape)
    U, S, Vh = singular_triplets(weight, 3, which)
    u, s, vh = np.linalg.svd(weight.double().numpy(), full_matrices=False)
    kept = slice(-3, None) if which == "minor" else slice(3)
    np.testing.assert_allclose(S, s[kept], rtol=1e-12)
    np.testing.assert_allclose(U * S @ Vh, u[:, kept] * s[kept] @ vh[kept], atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_full_rank_gives_the_matrix_back(shape: tuple[int, int]) -> None:
    weight = _random(*shape)
    U, S, Vh = singular_triplets(weight, min(shape))
    torch.testing.assert_close(U * S @ Vh, weight.double(), atol=1e-12, rtol=0)


def test_largest_entry_of_each_left_vector_is_positive() -> None:
    U, _, _ = singular_triplets(_random(9, 9), 9)
    largest = U.gather(0, U.abs().argmax(dim=0, keepdim=True))
    assert (largest > 0).all()
    negated, _, _ = singular_triplets(-_random(9, 9), 9)
    torch.testing.assert_close(U, negated)


def test_rank_deficient_weight_has_zero_minor_values_and_orthonormal_vectors() -> None:
    weight = _random(10, 2) @ _random(2, 8)
    U, S, Vh = singular_triplets(weight, 4)
    assert S.max() < 1e-6 * weight.norm()
    torch.testing.assert_close(U.T @ U, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(Vh @ Vh.T, torch.eye(4, dtype=torch.float64))


def test_bfloat16_weight_is_decomposed_in_double_precision() -> None:
    weight = _random(16, 16).bfloat16()
    U, S, Vh = singular_triplets(weight, 16)
    assert U.dtype == S.dtype == Vh.dtype == torch.float64
    torch.testing.assert_close(U * S @ Vh, weight.double(), atol=1e-12, rtol=0)


def test_kernel_is_flattened_over_inputs() -> None:
    kernel = _random(4, 3, 2, 2)
    torch.testing.assert_close(as_matrix(kernel)[1], kernel[1].reshape(-1))
    assert as_matrix(_random(4, 3)).shape == (4, 3)
