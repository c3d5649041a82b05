"""The measures against their definitions, written out in numpy."""

import math

import numpy as np
import pytest
import torch

from minorkey.spectrum.measures import (
    effective_rank,
    intruder_count,
    minor_share,
    random_share,
    relative_size,
    singular_values,
    singular_vectors,
    stable_rank,
    subspace_share,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def orthonormal(size: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(normal(size, columns, seed=seed))[0]


def test_tiny_singular_values_survive_a_weight_in_float32():
    values = singular_values(torch.diag(torch.tensor([1.0, 1e-3, 1e-12])))
    np.testing.assert_allclose(values, [1, 1e-3, 1e-12], rtol=1e-6)
    assert values.dtype == torch.float64


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 6)])
def test_values_and_vectors_make_up_the_matrix(shape):
    matrix = normal(*shape)
    values, (left, right) = singular_values(matrix), singular_vectors(matrix)
    np.testing.assert_allclose(values, np.linalg.svd(matrix.numpy(), compute_uv=False))
    np.testing.assert_allclose(left @ torch.diag(values) @ right.T, matrix, atol=1e-12)


@pytest.mark.parametrize(("values", "expected"), [([2.0] * 7, 7), ([3.0, 0, 0], 1), ([0.0, 0.0], 0)])
def test_both_ranks_count_equal_singular_values(values, expected):
    values = torch.tensor(values)
    assert effective_rank(values) == pytest.approx(expected)
    assert stable_rank(values) == pytest.approx(expected)


def test_effective_rank_is_the_exponential_of_the_entropy_of_the_singular_values():
    p = np.array([0.5, 0.25, 0.25])
    assert effective_rank(torch.from_numpy(8 * p)) == pytest.approx(math.exp(-(p * np.log(p)).sum()))


def test_stable_rank_and_minor_share_follow_from_the_energy():
    matrix = normal(6, 9)
    values = singular_values(matrix)
    _, s, _ = np.linalg.svd(matrix.numpy())
    assert stable_rank(values) == pytest.approx(np.linalg.norm(matrix) ** 2 / np.linalg.norm(matrix, 2) ** 2)
    assert minor_share(values, 2) == pytest.approx((s[-1] ** 2 + s[-2] ** 2) / np.linalg.norm(matrix) ** 2)
    assert minor_share(values, 6) == pytest.approx(1)
    assert minor_share(torch.zeros(4), 2) == 0


def test_relative_size():
    weight = normal(4, 5)
    assert relative_size(-0.25 * weight, weight) == pytest.approx(0.25)
    assert relative_size(torch.zeros(4, 5), torch.zeros(4, 5)) == 0
    assert relative_size(weight, torch.zeros(4, 5)) == 1


def test_shares_are_those_of_explicit_projections():
    update, left, right = normal(8, 11), orthonormal(8, 3), orthonormal(11, 2, seed=1)
    share = subspace_share(update, left, right)
    dw, p, q = update.numpy(), (left @ left.T).numpy(), (right @ right.T).numpy()
    total = (dw**2).sum()
    outside = (np.eye(8) - p) @ dw @ (np.eye(11) - q)
    assert share.left == pytest.approx(((p @ dw) ** 2).sum() / total)
    assert share.right == pytest.approx(((dw @ q) ** 2).sum() / total)
    assert share.both == pytest.approx(((p @ dw @ q) ** 2).sum() / total)
    assert share.either == pytest.approx(1 - (outside**2).sum() / total)


def test_the_first_step_of_factors_lies_on_one_side_of_their_subspaces():
    left, right = orthonormal(8, 2), orthonormal(9, 2, seed=1)
    step = normal(8, 2, seed=2) @ right.T + left @ normal(2, 9, seed=3)
    share = subspace_share(step, left, right)
    assert share.either == pytest.approx(1)
    assert share.both < 0.5


def test_an_update_of_zero_has_no_share():
    assert subspace_share(torch.zeros(3, 3), torch.eye(3), torch.eye(3)).either == 0


def test_the_random_reference_is_the_mean_over_random_updates():
    left, right = orthonormal(12, 3), orthonormal(20, 3, seed=1)
    drawn = [subspace_share(normal(12, 20, seed=seed), left, right) for seed in range(400)]
    expected = random_share((12, 20), 3)
    for side in ("left", "right", "both", "either"):
        assert np.mean([getattr(share, side) for share in drawn]) == pytest.approx(getattr(expected, side), rel=0.05)


def test_intruders_are_leading_directions_that_resemble_no_pretrained_one():
    before = torch.eye(6)[:, :4]
    turned = torch.stack([torch.eye(6)[4], torch.eye(6)[:4].sum(0) / 2, torch.eye(6)[1]], dim=1)
    assert intruder_count(before, turned) == 1  # the fifth axis; the mean of four has cosine 0.5 with each
    assert intruder_count(before, turned, threshold=0.6) == 2
    assert intruder_count(before, turned, top=1, threshold=0.6) == 1
    assert intruder_count(before, before) == 0
