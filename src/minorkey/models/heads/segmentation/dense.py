"""What our own segmentation models share: features, head, loss, in the order of the papers."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput


class DenseSegmenterConfig(PreTrainedConfig):
    """Configuration of a backbone with a convolutional head.

    Args:
        backbone_config: configuration of the backbone, usually a `PyramidConfig`.
        channels: width of the head.
        dropout: dropout before the classifier.
        loss_ignore_index: label of the pixels that count in no loss.
    """

    backbone_config: dict | PreTrainedConfig | None = None
    channels: int = 128
    dropout: float = 0.0
    loss_ignore_index: int = 255

    def __post_init__(self, **kwargs: Any) -> None:
        """Complete the nested backbone configuration."""
        if isinstance(self.backbone_config, dict):
            self.backbone_config = AutoConfig.for_model(**self.backbone_config)
        super().__post_init__(**kwargs)


class DenseSegmenter(PreTrainedModel):
    """A backbone and a head that turns its feature maps into logits at one resolution."""

    main_input_name = "pixel_values"
    base_model_prefix = "segmenter"

    def __init__(self, config: DenseSegmenterConfig) -> None:
        super().__init__(config)
        self.backbone = AutoBackbone.from_config(config.backbone_config)
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
            loss = F.cross_entropy(logits, labels, ignore_index=self.config.loss_ignore_index)
        return SemanticSegmenterOutput(loss=loss, logits=logits)
