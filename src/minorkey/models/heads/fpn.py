"""A feature pyramid network (arXiv 1612.03144): fine maps that know what the coarse ones know."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """Lateral 1x1 convolutions, a top-down path, and a 3x3 convolution at each level.

    Args:
        in_channels: of the maps that come in.
        channels: of all that go out.
    """

    def __init__(self, in_channels: list[int], channels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, kernel_size=1) for c in in_channels)
        self.outputs = nn.ModuleList(_conv(channels, channels) for _ in in_channels)

    def maps(self, features: tuple[Tensor, ...]) -> list[Tensor]:
        """Maps `(B, C, h_i, w_i)` of maps `(B, C_i, h_i, w_i)`, both finest first."""
        levels = [lateral(f) for lateral, f in zip(self.laterals, features, strict=True)]
        for i in range(len(levels) - 2, -1, -1):
            levels[i] = levels[i] + upsample(levels[i + 1], like=levels[i])
        return [output(level) for output, level in zip(self.outputs, levels, strict=True)]


class LenientGroupNorm(nn.GroupNorm):
    """Group norm that takes groups of a single value too, which a narrow head has on a map of one cell.

    torch's own refuses them, in evaluation as well.
    """

    def forward(self, x: Tensor) -> Tensor:
        """A map `(B, C, h, w)` normalised by groups of channels; a lone value becomes the bias."""
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def upsample(x: Tensor, like: Tensor) -> Tensor:
    """A map `(B, C, h, w)` at the height and width of another (bilinear)."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        LenientGroupNorm(_groups(out_channels), out_channels),
        nn.ReLU(inplace=True),
    )


def _groups(channels: int) -> int:
    """The most groups, up to 32, that divide the channels."""
    return max(g for g in range(1, 33) if channels % g == 0)
