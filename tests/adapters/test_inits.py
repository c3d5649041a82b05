import pytest
import torch

from minorkey.adapters.inits import low_rank_factors, residual_weight


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("scaling", [0.5, 1.0, 2.0])
def test_scaled_product_of_the_factors_is_the_product_of_the_triplets(scaling: float) -> None:
    U, S, Vh = _random(6, 3), torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64), _random(3, 5)
    A, B = low_rank_factors(U, S, Vh, scaling)
    assert A.shape == (3, 5)
    assert B.shape == (6, 3)
    torch.testing.assert_close(scaling * B @ A, U @ torch.diag(S) @ Vh)


def test_both_factors_carry_the_root_of_the_singular_value() -> None:
    U, Vh = torch.eye(4, 2), torch.eye(2, 4)
    A, B = low_rank_factors(U, torch.tensor([16.0, 4.0]), Vh, scaling=4.0)
    torch.testing.assert_close(A.norm(dim=1), torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(B.norm(dim=0), torch.tensor([2.0, 1.0]))


def test_residual_plus_update_is_the_weight() -> None:
    weight, A, B = _random(6, 5), _random(2, 5), _random(6, 2)
    residual = residual_weight(weight, A, B, scaling=2.0)
    torch.testing.assert_close(residual + 2.0 * B @ A, weight)


def test_residual_of_a_kernel_is_that_of_the_convolutions() -> None:
    weight, A, B = _random(6, 3, 2, 2), _random(4, 3, 2, 2), _random(6, 4, 1, 1)
    image = _random(1, 3, 5, 5)
    conv = torch.nn.functional.conv2d
    adapted = conv(image, residual_weight(weight, A, B, 0.5)) + 0.5 * conv(conv(image, A), B)
    torch.testing.assert_close(adapted, conv(image, weight))


def test_residual_keeps_the_type_of_the_weight_and_rounds_once() -> None:
    weight, A, B = _random(6, 5).bfloat16(), _random(2, 5), _random(6, 2)
    residual = residual_weight(weight, A, B, 1.0)
    torch.testing.assert_close(residual, (weight.double() - B @ A).bfloat16(), rtol=0, atol=0)
