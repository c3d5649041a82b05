"""Semantic FPN (Kirillov et al. 2019, arXiv 1901.02446): a feature pyramid summed at stride 4."""

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from minorkey.models.heads.dense import DenseSegmenter, DenseSegmenterConfig


def _upsample(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.GroupNorm(_groups(out_channels), out_channels),
        nn.ReLU(inplace=True),
    )


def _groups(channels: int) -> int:
    """The most groups, up to 32, that divide the channels."""
    return max(g for g in range(1, 33) if channels % g == 0)


class SemanticFpnHead(nn.Module):
    """Lateral 1x1 convolutions, a top-down path, and a sum of all levels at the finest resolution."""

    def __init__(self, in_channels: list[int], channels: int, num_labels: int, dropout: float) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, kernel_size=1) for c in in_channels)
        self.outputs = nn.ModuleList(_conv(channels, channels) for _ in in_channels)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, num_labels, kernel_size=1)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """Logits `(B, K, h, w)` at the resolution of `features[0]`; levels come finest first."""
        levels = [lateral(f) for lateral, f in zip(self.laterals, features, strict=True)]
        for i in range(len(levels) - 2, -1, -1):
            levels[i] = levels[i] + _upsample(levels[i + 1], like=levels[i])
        maps = [output(level) for output, level in zip(self.outputs, levels, strict=True)]
        summed = sum((_upsample(m, like=maps[0]) for m in maps[1:]), start=maps[0])
        return self.classifier(self.dropout(summed))


class SemanticFpnConfig(DenseSegmenterConfig):
    """Configuration of a `SemanticFpnForSemanticSegmentation`."""

    model_type = "minorkey_semfpn"


class SemanticFpnForSemanticSegmentation(DenseSegmenter):
    """A backbone with a semantic FPN head."""

    config_class = SemanticFpnConfig

    @staticmethod
    def build_head(config: DenseSegmenterConfig, in_channels: list[int]) -> nn.Module:
        """A `SemanticFpnHead` over the pyramid."""
        return SemanticFpnHead(in_channels, config.channels, config.num_labels, config.dropout)


AutoConfig.register(SemanticFpnConfig.model_type, SemanticFpnConfig)
AutoModelForSemanticSegmentation.register(SemanticFpnConfig, SemanticFpnForSemanticSegmentation)
