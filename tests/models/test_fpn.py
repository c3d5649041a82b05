"""Parts of a feature pyramid."""

import pytest
import torch
from torch import nn

from minorkey.models.heads.fpn import FeaturePyramid, LenientGroupNorm


def test_group_norm_is_torch_s_and_takes_lone_values():
    ours, torchs = LenientGroupNorm(4, 8), nn.GroupNorm(4, 8)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    torchs.load_state_dict(ours.state_dict())
    maps = torch.randn(2, 8, 3, 5)
    assert torch.equal(ours(maps), torchs(maps))
    lone = LenientGroupNorm(8, 8)
    nn.init.normal_(lone.bias)
    # What is left of a value less itself is divided by sqrt(eps), 0.003.
    torch.testing.assert_close(lone(torch.randn(1, 8, 1, 1)), lone.bias.reshape(1, 8, 1, 1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("channels", [1, 8, 12, 128])
def test_maps_of_one_cell(channels):
    maps = FeaturePyramid([3, 5], channels).maps((torch.randn(1, 3, 2, 2), torch.randn(1, 5, 1, 1)))
    assert [tuple(level.shape) for level in maps] == [(1, channels, 2, 2), (1, channels, 1, 1)]
    assert all(level.isfinite().all() for level in maps)
