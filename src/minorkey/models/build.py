"""From options to a segmentation model of transformers: pretrained backbone, pyramid, head."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel, UperNetConfig, UperNetForSemanticSegmentation

from minorkey.errors import AdapterError, ModelError, unknown
from minorkey.models.heads.segmentation.eomt import EOMT_MODELS, SCHEDULE, EomtEncoder, build_eomt
from minorkey.models.heads.segmentation.linear import LinearForSemanticSegmentation, LinearSegmenterConfig
from minorkey.models.heads.segmentation.mask2former import build_mask2former
from minorkey.models.heads.segmentation.segformer import MlpForSemanticSegmentation, MlpSegmenterConfig
from minorkey.models.heads.segmentation.semfpn import SemanticFpnConfig, SemanticFpnForSemanticSegmentation
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidBackbone, PyramidConfig
from minorkey.system.storage import read_metadata, read_tensors

PYRAMID_STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class HeadSpec:
    """How one head is built: around feature maps, at strides 4 to 32 or as the backbone gives them."""

    build: Callable[[PyramidConfig, int, int, HeadOptions], PreTrainedModel]  # features, classes, channels
    pyramid: bool = True
    channels: int = 128


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
    config = UperNetConfig(
        backbone_config=features,
        num_labels=num_labels,
        hidden_size=channels,
        auxiliary_channels=max(1, channels // 2),
    )
    return UperNetForSemanticSegmentation(config)


HEADS = {
    "linear": HeadSpec(_linear, pyramid=False),
    "semfpn": HeadSpec(_semfpn),
    "segformer": HeadSpec(_segformer, channels=256),
    "upernet": HeadSpec(_upernet),
    "mask2former": HeadSpec(build_mask2former, channels=256),
}
"""Heads on top of a backbone. `eomt` is none: it is inside."""


def build_segmenter(backbone: PreTrainedModel, head: HeadOptions, num_labels: int, seed: int) -> PreTrainedModel:
    """A segmentation model around a loaded backbone; the head starts from `seed`, whatever came before.

    `backbone_of` finds the pretrained part in it. With `eomt` its weights are copied, else it is the one given,
    wrapped in a `PyramidBackbone`.

    Raises:
        ModelError: the head cannot be built as asked, or not on this backbone.
    """
    with torch.random.fork_rng(devices=[]):
        if head.name == "eomt":
            torch.manual_seed(seed)
            return build_eomt(backbone, num_labels, head)
        if head.name not in HEADS:
            raise ModelError(f"head.name for segmentation: {unknown('head', head.name, [*HEADS, 'eomt'])}")
        spec = HEADS[head.name]
        strides = list(PYRAMID_STRIDES[: len(backbone.config.out_features)]) if spec.pyramid else None
        pyramid = PyramidBackbone.around(backbone, strides)
        torch.manual_seed(seed)
        model = spec.build(pyramid.config, num_labels, head.channels or spec.channels, head)
    place_pyramid(model, pyramid)
    return model


def place_pyramid(model: nn.Module, pyramid: PyramidBackbone) -> None:
    """Put a pyramid with pretrained weights where the model was built with a random one."""
    model.set_submodule(_pyramid(model)[0], pyramid)


def _pyramid(model: nn.Module) -> tuple[str, PyramidBackbone]:
    return next((name, module) for name, module in model.named_modules() if isinstance(module, PyramidBackbone))


def backbone_of(model: nn.Module) -> nn.Module:
    """The pretrained part of a model of this package: what an adapter goes to and what a head is not.

    Wherever the model keeps it: the network inside its `PyramidBackbone`, or an `EomtEncoder` of an EoMT's modules.
    """
    if isinstance(model, EOMT_MODELS):
        return EomtEncoder(model)
    return _pyramid(model)[1].backbone


def load_head(model: nn.Module, file: Path, backbone: str, base_sha256: str) -> None:
    """Load the head of a finished run, in place.

    Args:
        model: with a head of the same options.
        file: `RunFolder.head`.
        backbone: name of the model's backbone.
        base_sha256: fingerprint of its pretrained weights.

    Raises:
        AdapterError: the run began from other pretrained weights.
    """
    expected = read_metadata(file).get("base_weights_sha256")
    if expected != base_sha256:
        raise AdapterError(
            f"run '{file.parent}' was trained on base weights {str(expected)[:12]}, but backbone '{backbone}' has "
            f"{base_sha256[:12]}; use the weights it was trained on"
        )
    model.load_state_dict(read_tensors(file), strict=False)


def head_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """State dict of everything but the backbone; a tensor with several names, as heads of a DETR have, by its first."""
    seen = {id(tensor) for tensor in backbone_of(model).state_dict(keep_vars=True).values()}
    state = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen and name != SCHEDULE:
            seen.add(id(tensor))
            state[name] = tensor.detach()
    return state
