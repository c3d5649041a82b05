"""What our own segmentation models share: features, head, loss, in the order of the papers."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import SemanticSegmenterOutput

from minorkey.models.heads.around_backbone import AroundBackbone, AroundBackboneConfig
from minorkey.models.heads.segmentation.pixel_loss import pixel_cross_entropy


class DenseSegmenterConfig(AroundBackboneConfig):
    """Configuration of a backbone with a convolutional head.

    Args:
        backbone_config: configuration of the backbone, usually a `PyramidConfig`.
        channels: width of the head.
        dropout: dropout before the classifier.
        loss_ignore_index: label of the pixels that count in no loss.
    """

    channels: int = 128
    dropout: float = 0.0
    loss_ignore_index: int = 255


class DenseSegmenter(AroundBackbone):
    """A backbone and a head that turns its feature maps into logits at one resolution."""

    base_model_prefix = "segmenter"

    def __init__(self, config: DenseSegmenterConfig) -> None:
        super().__init__(config)
        self.decode_head = self.build_head(config, list(self.backbone.channels))
        self.post_init()

    @staticmethod
    def build_head(config: DenseSegmenterConfig, in_channels: list[int]) -> nn.Module:
        """The head: a module from the tuple of feature maps to logits `(B, num_labels, h, w)`."""
        raise TypeError("a DenseSegmenter subclass says how its head is built")

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **kwargs: Any) -> SemanticSegmenterOutput:
        """Logits `(B, K, H, W)` of images `(B, 3, H, W)`; with labels `(B, H, W)` also the cross-entropy."""
        features = self.backbone(pixel_values).feature_maps
        logits = self.decode_head(features)
        logits = F.interpolate(logits, size=pixel_values.shape[-2:], mode="bilinear", align_corners=False)
        loss = None
        if labels is not None:
            loss = pixel_cross_entropy(logits, labels, ignore_index=self.config.loss_ignore_index)
        return SemanticSegmenterOutput(loss=loss, logits=logits)
