"""From options to a segmentation model of transformers: pretrained backbone, pyramid, head."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel, UperNetConfig, UperNetForSemanticSegmentation

from minorkey.models.heads.linear import LinearForSemanticSegmentation, LinearSegmenterConfig
from minorkey.models.heads.semfpn import SemanticFpnConfig, SemanticFpnForSemanticSegmentation
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidBackbone, PyramidConfig

PYRAMID_STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class HeadSpec:
    """How one head is built; `pyramid` heads see strides 4 to 32, the others the backbone's native maps."""

    pyramid: bool
    build: Callable[[PyramidConfig, int, HeadOptions], PreTrainedModel]


def _linear(backbone: PyramidConfig, num_labels: int, options: HeadOptions) -> PreTrainedModel:
    config = LinearSegmenterConfig(backbone_config=backbone, num_labels=num_labels, dropout=options.dropout)
    return LinearForSemanticSegmentation(config)


def _semfpn(backbone: PyramidConfig, num_labels: int, options: HeadOptions) -> PreTrainedModel:
    config = SemanticFpnConfig(
        backbone_config=backbone, num_labels=num_labels, channels=options.channels, dropout=options.dropout
    )
    return SemanticFpnForSemanticSegmentation(config)


def _upernet(backbone: PyramidConfig, num_labels: int, options: HeadOptions) -> PreTrainedModel:
    config = UperNetConfig(
        backbone_config=backbone,
        num_labels=num_labels,
        hidden_size=options.channels,
        auxiliary_channels=max(1, options.channels // 2),
    )
    return UperNetForSemanticSegmentation(config)


HEADS = {
    "linear": HeadSpec(pyramid=False, build=_linear),
    "semfpn": HeadSpec(pyramid=True, build=_semfpn),
    "upernet": HeadSpec(pyramid=True, build=_upernet),
}


def build_segmenter(backbone: PreTrainedModel, head: HeadOptions, num_labels: int, seed: int) -> PreTrainedModel:
    """A segmentation model around a loaded backbone; the head starts from `seed`, whatever came before.

    The model has `backbone` (a `PyramidBackbone` whose `backbone` is the one given) and the head's modules.
    """
    spec = HEADS[head.name]
    strides = list(PYRAMID_STRIDES[: len(backbone.config.out_features)]) if spec.pyramid else None
    with torch.random.fork_rng(devices=[]):
        pyramid = PyramidBackbone.around(backbone, strides)
        torch.manual_seed(seed)
        model = spec.build(pyramid.config, num_labels, head)
    model.backbone = pyramid
    return model


def head_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """State dict of everything but the backbone."""
    return {name: value for name, value in model.state_dict().items() if not name.startswith("backbone.")}
