"""The all-MLP head of SegFormer (arXiv 2105.15203): transformers' own, on the pyramid of any backbone."""

from torch import nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation, SegformerConfig
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

from minorkey.models.heads.segmentation.dense import DenseSegmenter, DenseSegmenterConfig


class MlpSegmenterConfig(DenseSegmenterConfig):
    """Configuration of an `MlpForSemanticSegmentation`."""

    model_type = "minorkey_segformer"


class MlpForSemanticSegmentation(DenseSegmenter):
    """A backbone with SegFormer's head."""

    config_class = MlpSegmenterConfig

    @staticmethod
    def build_head(config: DenseSegmenterConfig, in_channels: list[int]) -> nn.Module:
        """Each level through a linear layer, resized to the first, and all fused by a 1x1 convolution."""
        return SegformerDecodeHead(
            SegformerConfig(
                num_encoder_blocks=len(in_channels),
                hidden_sizes=in_channels,
                decoder_hidden_size=config.channels,
                classifier_dropout_prob=config.dropout,
                num_labels=config.num_labels,
            )
        )


AutoConfig.register(MlpSegmenterConfig.model_type, MlpSegmenterConfig)
AutoModelForSemanticSegmentation.register(MlpSegmenterConfig, MlpForSemanticSegmentation)
