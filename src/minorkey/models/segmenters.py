"""The heads of semantic segmentation, a row each."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter

import torch
from torch import nn
from transformers import (
    Mask2FormerForUniversalSegmentation,
    PreTrainedModel,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from minorkey.errors import ModelError
from minorkey.models.build import Head, PyramidHead, backbone_of, head_catalog, whole
from minorkey.models.heads.segmentation.eomt import build_eomt, layers_in_eomt
from minorkey.models.heads.segmentation.linear import LinearForSemanticSegmentation, LinearSegmenterConfig
from minorkey.models.heads.segmentation.mask2former import build_mask2former
from minorkey.models.heads.segmentation.segformer import MlpForSemanticSegmentation, MlpSegmenterConfig
from minorkey.models.heads.segmentation.semfpn import SemanticFpnConfig, SemanticFpnForSemanticSegmentation
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidConfig
from minorkey.models.pyramid_models import (
    PyramidMask2FormerForUniversalSegmentation,
    PyramidUperNetForSemanticSegmentation,
)

LEAST_MODULES = 8
"""Modules that a dense head is made of for it to be worth copying what goes in and out of a CUDA graph."""


@dataclass(frozen=True, kw_only=True)
class Eomt(Head):
    """Queries that go through the last blocks of the backbone, of which the model has a copy."""

    holds_backbone: bool = True
    own_loss: bool = True
    one_size: bool = True

    def on(self, backbone: PreTrainedModel, num_labels: int, options: HeadOptions, seed: int) -> PreTrainedModel:
        """A model with the backbone's weights inside."""
        torch.default_generator.manual_seed(seed)  # of the CPU alone, which is put back
        return build_eomt(backbone, num_labels, options)

    def layers_inside(self, backbone: PreTrainedModel) -> Mapping[str, str]:
        """Where the backbone's own weights went."""
        return layers_in_eomt(backbone)


def _linear(features: PyramidConfig, num_labels: int, channels: int, options: HeadOptions) -> PreTrainedModel:
    config = LinearSegmenterConfig(backbone_config=features, num_labels=num_labels, dropout=options.dropout)
    return LinearForSemanticSegmentation(config)


def _semfpn(features: PyramidConfig, num_labels: int, channels: int, options: HeadOptions) -> PreTrainedModel:
    config = SemanticFpnConfig(
        backbone_config=features, num_labels=num_labels, channels=channels, dropout=options.dropout
    )
    return SemanticFpnForSemanticSegmentation(config)


def _segformer(features: PyramidConfig, num_labels: int, channels: int, options: HeadOptions) -> PreTrainedModel:
    config = MlpSegmenterConfig(
        backbone_config=features, num_labels=num_labels, channels=channels, dropout=options.dropout
    )
    return MlpForSemanticSegmentation(config)


def _upernet(features: PyramidConfig, num_labels: int, channels: int, options: HeadOptions) -> PreTrainedModel:
    if len(features.stage_names) < 3:
        raise ModelError(
            f"upernet reads 3 feature maps or more, the backbone gives {len(features.stage_names)}; "
            "set backbone.out_blocks, or take head linear"
        )
    config = UperNetConfig(
        backbone_config=features,
        num_labels=num_labels,
        hidden_size=channels,
        auxiliary_channels=max(1, channels // 2),
    )
    return UperNetForSemanticSegmentation(config)


def _dense(model: nn.Module) -> list[nn.Module]:
    """The heads beside the backbone, of those that have enough modules."""
    backbone = backbone_of(model)
    heads = [child for child in model.children() if backbone not in {*child.modules()}]
    return [head for head in heads if len([*head.modules()]) >= LEAST_MODULES]


def _mask_decoders(model: Mask2FormerForUniversalSegmentation) -> list[nn.Module]:
    return [model.model.pixel_level_module.decoder, model.model.transformer_module]


SEGMENTATION_HEADS = head_catalog(
    {
        "linear": PyramidHead(build=_linear, strides=None, compiled=whole, fixed=_dense),
        "semfpn": PyramidHead(build=_semfpn, compiled=whole, fixed=_dense),
        "segformer": PyramidHead(build=_segformer, channels=256, compiled=whole, fixed=_dense),
        "upernet": PyramidHead(
            build=_upernet, smallest_batch=2, own_class=PyramidUperNetForSemanticSegmentation, fixed=_dense
        ),
        "mask2former": PyramidHead(
            build=build_mask2former,
            channels=256,
            own_class=PyramidMask2FormerForUniversalSegmentation,
            compiled=attrgetter("model"),
            fixed=_mask_decoders,
            own_loss=True,
        ),
        "eomt": Eomt(),
    }
)
