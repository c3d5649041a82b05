"""What the pretraining asks of the network: in any weather, what the renderer knows of every place but its class.

All stages together, each by one linear map and brought to the finest stride, tell of every cell: the shares of the
materials in it, the extent of the object that it belongs to and which part of that it is, the direction of the
surface, its inverse depth, its appearance in clear weather and whether one thing ends there. The maps are linear, so
that what is learnt lies open in the features. The views of a scene, whatever the weather, are asked for the same: that
is what makes the features of a place agree.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

STRIDE = 4
"""Pixels of a cell: the stride of the finest stage."""


class Targets(NamedTuple):
    """What is asked for in each cell of a batch; h and w are the image's over `STRIDE`."""

    kinds: torch.Tensor  # (B, K, h, w) uint8, pixels of the cell that are of each kind of surface
    part: torch.Tensor  # (B, 1, h, w) 1 on the second part of an object
    extent: torch.Tensor  # (B, 2, h, w) log metres, height and horizontal diagonal of the object; NaN on ground and sky
    normal: torch.Tensor  # (B, 3, h, w) unit vector towards the camera, 0 in the sky
    inverse_depth: torch.Tensor  # (B, 1, h, w) about in [-1, 1]
    clear: torch.Tensor  # (B, 3, h, w) mean colour in clear weather, in [-1, 1]
    border: torch.Tensor  # (B, 1, h, w) 1 where more than one thing is in the cell


class Maps(nn.Module):
    """A linear map of every stage, added up at the finest stride."""

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """`(B, D_s, h_s, w_s)` of every stage s to `(B, channels, h_1, w_1)`."""
        size = features[0].shape[-2:]
        maps = (stage(feature) for stage, feature in zip(self.stages, features, strict=True))
        return sum(F.interpolate(each, size=size, mode="bilinear") for each in maps)


class Pretraining(nn.Module):
    """The backbone and the linear maps that are thrown away after the pretraining."""

    def __init__(self, backbone: nn.Module, kinds: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.channels = [kinds, 1, 2, 3, 1, 3, 1]  # in the order of `Targets`
        self.asked = Maps(backbone.channels, sum(self.channels))

    def forward(self, views: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
        """Losses of a batch of paired views.

        Args:
            views: `(B, 2, 3, H, W)`, two views of each scene, in [-1, 1].
            targets: of the B scenes.

        Returns:
            A scalar by name, and their weighted sum `total`.
        """
        asked = self.asked(self.backbone(views.flatten(0, 1)).feature_maps)
        both = Targets(*(each.repeat_interleave(2, dim=0) for each in targets))
        kinds, part, extent, normal, depth, clear, border = asked.split(self.channels, dim=1)
        known = ~both.extent.isnan()
        losses = {
            "kinds": F.cross_entropy(kinds, both.kinds.float() / STRIDE**2),
            "part": F.binary_cross_entropy_with_logits(part, both.part),
            "extent": F.smooth_l1_loss(extent[known], both.extent[known], beta=0.3),
            "normal": F.smooth_l1_loss(normal, both.normal, beta=0.3),
            "depth": F.smooth_l1_loss(depth, both.inverse_depth, beta=0.1),
            "clear": F.smooth_l1_loss(clear, both.clear, beta=0.1),
            "border": F.binary_cross_entropy_with_logits(border, both.border),
        }
        return {"total": sum(WEIGHTS[name] * loss for name, loss in losses.items()), **losses}


WEIGHTS = {"kinds": 1.0, "part": 1.0, "extent": 0.5, "normal": 0.5, "depth": 1.0, "clear": 0.5, "border": 0.2}
"""Of the losses in their sum."""
