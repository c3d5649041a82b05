"""`AtssHead`: class scores, box and centerness for the one anchor at each place of a pyramid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minorkey.models.heads.detection.atss.anchors import SCALE, Shape
from minorkey.models.heads.fpn import LenientGroupNorm

PRIOR = 0.01
"""Probability of every class at the start (RetinaNet, arXiv 1708.02002, section 4.1)."""

GROUPS = 32


@dataclass(frozen=True)
class AtssOutput:
    """What the head says of all places of all maps, finest map first, row by row."""

    logits: Tensor  # (B, A, K), sigmoid of each is the probability of a class
    deltas: Tensor  # (B, A, 4), box relative to the anchor, see `anchors.decode`
    centerness: Tensor  # (B, A), logits
    shapes: list[Shape]  # height and width of each map
    side: float = SCALE  # of an anchor, in strides of its map


class AtssHead(nn.Module):
    """The head of ATSS (arXiv 1912.02424), with the same convolutions for all levels and a scale of its own for each.

    The authors put 4 convolutions under each output; Co-DETR's auxiliary head, as here, 1.

    Args:
        channels: of every feature map.
        num_labels: classes, K.
        levels: feature maps.
        layers: convolutions (3 x 3, group norm, ReLU) under the class scores, and as many under the box.
        side: of an anchor, in strides of its map.
    """

    def __init__(
        self, channels: int, num_labels: int, levels: int = 3, layers: int = 1, *, side: float = SCALE
    ) -> None:
        super().__init__()
        self.side = side
        self.class_tower = _tower(channels, layers)
        self.box_tower = _tower(channels, layers)
        self.classifier = nn.Conv2d(channels, num_labels, 3, padding=1)
        self.regressor = nn.Conv2d(channels, 4, 3, padding=1)
        self.center_scorer = nn.Conv2d(channels, 1, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(levels))
        self.apply(_start)
        _start_unlikely(self.classifier)

    def forward(self, features: Sequence[Tensor]) -> AtssOutput:
        """Read feature maps `(B, C, h_i, w_i)`, as many as there are levels, finest first."""
        parts = [self._level(level, scale) for level, scale in zip(features, self.scales, strict=True)]
        logits, deltas, center = (torch.cat(maps, 1) for maps in zip(*parts, strict=True))
        shapes = [(level.shape[2], level.shape[3]) for level in features]
        return AtssOutput(logits, deltas, center.squeeze(-1), shapes, self.side)

    def _level(self, features: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes = self.box_tower(features)
        maps = self.classifier(self.class_tower(features)), scale * self.regressor(boxes), self.center_scorer(boxes)
        logits, deltas, center = (output.flatten(2).transpose(1, 2) for output in maps)
        return logits, deltas, center


def _tower(channels: int, layers: int) -> nn.Sequential:
    groups = math.gcd(GROUPS, channels)
    stages = [
        (nn.Conv2d(channels, channels, 3, padding=1, bias=False), LenientGroupNorm(groups, channels), nn.ReLU())
        for _ in range(layers)
    ]
    return nn.Sequential(*(module for stage in stages for module in stage))


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _start_unlikely(classifier: nn.Conv2d) -> None:
    assert classifier.bias is not None
    nn.init.constant_(classifier.bias, math.log(PRIOR / (1 - PRIOR)))
