"""A network -> rows, against numpy; what cannot be surveyed is said."""

import copy

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from minorkey.errors import AdapterError
from minorkey.spectrum import survey_update, survey_weights
from minorkey.spectrum.summary import ranks_of

QUIET = Console(quiet=True)


class FusedBlock(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.attn = nn.Module()
        self.attn.qkv = nn.Linear(width, 3 * width)
        self.attn.proj = nn.Linear(width, width)
        self.conv1 = nn.Conv2d(4, 6, 3)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(FusedBlock(), FusedBlock())


def test_every_weight_has_its_own_spectrum(network):
    rows = {row.layer: row for row in survey_weights(network, rank=3, console=QUIET)}
    weights = {
        "0.attn.qkv.k": network[0].attn.qkv.weight[8:16],
        "1.attn.proj": network[1].attn.proj.weight,
        "1.conv1": network[1].conv1.weight.reshape(6, 36),
    }
    assert len(rows) == 10
    for name, weight in weights.items():
        values = np.linalg.svd(weight.detach().numpy().astype(np.float64), compute_uv=False)
        row = rows[name]
        np.testing.assert_allclose(row.singular_values, values, rtol=1e-6)
        assert (row.out, row.columns) == tuple(weight.shape)
        assert row.energy == pytest.approx((values**2).sum())
        assert row.minor_share == pytest.approx((values[-3:] ** 2).sum() / (values**2).sum())
    assert (rows["1.conv1"].role, rows["1.conv1"].block) == ("conv", 1)


def test_each_block_has_its_rank_and_no_weight_more_than_it_has(network):
    rows = survey_weights(network, lambda block: 7 + block, console=QUIET)
    assert {(row.block, row.role == "conv", row.rank) for row in rows} == {
        (0, False, 7), (0, True, 6), (1, False, 8), (1, True, 6)
    }  # fmt: skip
    assert ranks_of(rows) == "6 to 8"
    assert ranks_of(rows[:2]) == "7"
    assert next(row.minor_share for row in rows if row.role == "conv") == pytest.approx(1)


def test_a_weight_that_was_zero_is_all_new(network):
    before = copy.deepcopy(network)
    with torch.no_grad():
        before[0].attn.proj.weight.zero_()
    row = next(row for row in survey_update(before, network, 2, console=QUIET) if row.layer == "0.attn.proj")
    assert row.relative_size == 1


def test_only_the_roles_wanted(network):
    assert {row.role for row in survey_weights(network, 2, roles=["v", "out"], console=QUIET)} == {"v", "out"}


def test_an_update_is_found_where_it_was_made(network):
    trained = copy.deepcopy(network)
    with torch.no_grad():
        U, _, Vh = torch.linalg.svd(network[1].attn.qkv.weight[16:])
        trained[1].attn.qkv.weight[16:] += 0.5 * U[:, -2:] @ Vh[-2:]
        U, _, Vh = torch.linalg.svd(network[0].attn.proj.weight)
        trained[0].attn.proj.weight += U[:, :1] @ torch.ones(1, 8)
    rows = {row.layer: row for row in survey_update(network, trained, rank=2, console=QUIET)}
    minor, left = rows["1.attn.qkv.v"], rows["0.attn.proj"]
    assert {name for name, row in rows.items() if row.changed} == {"1.attn.qkv.v", "0.attn.proj"}
    assert (minor.minor.both, minor.major.either) == pytest.approx((1, 0), abs=1e-6)
    assert minor.effective_rank == pytest.approx(2, rel=1e-3)
    assert minor.energy == pytest.approx(0.5, rel=1e-5)
    weight = network[1].attn.qkv.weight[16:].detach()
    assert minor.relative_size == pytest.approx(float(np.sqrt(0.5) / weight.norm()), rel=1e-5)
    assert (left.major.left, left.minor.left) == pytest.approx((1, 0), abs=1e-6)
    assert left.effective_rank == pytest.approx(1, rel=1e-3)
    assert rows["0.conv1"].relative_size == rows["0.conv1"].intruders == 0


def test_rounding_is_no_update(network):
    trained = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.7).div_(1.7)
    assert not torch.equal(trained[0].attn.proj.weight, network[0].attn.proj.weight)
    assert not any(row.changed for row in survey_update(network, trained, 2, console=QUIET))


def test_a_strange_leading_direction_is_an_intruder():
    before = nn.Sequential(FusedBlock())
    with torch.no_grad():
        before[0].attn.proj.weight.copy_(torch.diag(torch.linspace(2, 1, 8)))
    after = copy.deepcopy(before)
    with torch.no_grad():
        after[0].attn.proj.weight += torch.ones(8, 8) * 5
    rows = survey_update(before, after, rank=2, roles=["out"], console=QUIET)
    assert rows[0].intruders >= 1  # (1, ..., 1) / sqrt(8) has cosine 0.35 with every axis


@pytest.mark.parametrize("rank", [0, 9])
def test_a_rank_that_fits_no_weight_names_the_weight(network, rank):
    message = f"rank {rank} does not fit layer '0.attn.qkv.q' of size 8 x 8; give 1 to 8"
    with pytest.raises(AdapterError, match=message):
        survey_weights(network, rank=rank, console=QUIET)
    with pytest.raises(AdapterError, match=message):
        survey_update(network, network, rank=rank, console=QUIET)


def test_a_weight_that_is_not_finite_is_named(network):
    with torch.no_grad():
        network[1].attn.proj.weight[0, 0] = float("nan")
    with pytest.raises(AdapterError, match="layer '1.attn.proj' has weights that are not finite"):
        survey_weights(network, rank=2, console=QUIET)


def test_quantised_weights_are_refused(network):
    network[1].attn.proj.weight = nn.Parameter(torch.ones(8, 8, dtype=torch.int8), requires_grad=False)
    with pytest.raises(AdapterError, match=r"layer '1.attn.proj' has weights of torch.int8 .* load the backbone unq"):
        survey_weights(network, rank=2, console=QUIET)


def test_two_different_networks_cannot_be_compared(network):
    with pytest.raises(AdapterError, match="has other layers than the pretrained Sequential; fold its adapter in"):
        survey_update(network, nn.Sequential(FusedBlock()), 2, console=QUIET)
