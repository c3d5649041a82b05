"""Semantic FPN (Kirillov et al. 2019, arXiv 1901.02446): a feature pyramid summed at stride 4."""

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from minorkey.models.heads.fpn import FeaturePyramid, upsample
from minorkey.models.heads.segmentation.dense import DenseSegmenter, DenseSegmenterConfig


class SemanticFpnHead(FeaturePyramid):
    """A feature pyramid, and a sum of all levels at the finest resolution."""

    def __init__(self, in_channels: list[int], channels: int, num_labels: int, dropout: float) -> None:
        super().__init__(in_channels, channels)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, num_labels, kernel_size=1)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """Logits `(B, K, h, w)` at the resolution of `features[0]`; levels come finest first."""
        finest, *others = self.maps(features)
        summed = sum((upsample(level, like=finest) for level in others), start=finest)
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
