"""The linear head: batch norm and a 1x1 convolution on all features, the probe of DINOv2 (arXiv 2304.07193)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from minorkey.models.heads.segmentation.dense import DenseSegmenter, DenseSegmenterConfig


class LinearHead(nn.Module):
    """Concatenate the levels at the resolution of the first, normalise, classify each position."""

    def __init__(self, in_channels: list[int], num_labels: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(sum(in_channels))
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(sum(in_channels), num_labels, kernel_size=1)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """Logits `(B, K, h, w)` at the resolution of `features[0]`."""
        size = features[0].shape[-2:]
        levels = [F.interpolate(f, size=size, mode="bilinear", align_corners=False) for f in features[1:]]
        return self.classifier(self.dropout(self.norm(torch.cat([features[0], *levels], dim=1))))


class LinearSegmenterConfig(DenseSegmenterConfig):
    """Configuration of a `LinearForSemanticSegmentation`."""

    model_type = "minorkey_linear"


class LinearForSemanticSegmentation(DenseSegmenter):
    """A backbone with a linear head."""

    config_class = LinearSegmenterConfig

    @staticmethod
    def build_head(config: DenseSegmenterConfig, in_channels: list[int]) -> nn.Module:
        """A `LinearHead` over all levels."""
        return LinearHead(in_channels, config.num_labels, config.dropout)


AutoConfig.register(LinearSegmenterConfig.model_type, LinearSegmenterConfig)
AutoModelForSemanticSegmentation.register(LinearSegmenterConfig, LinearForSemanticSegmentation)
