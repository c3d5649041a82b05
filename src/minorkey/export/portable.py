"""A trained model in the classes that others can load it with: stock ones where there are such."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from minorkey.models.build import Head, pyramid_in
from minorkey.models.timm_backbone import TimmFeatures

UNEVEN = 198, 230  # no multiple of any stride: who rounds sides down shows it here, at every level


def portable(model: PreTrainedModel, head: Head) -> tuple[PreTrainedModel, bool]:
    """The model in the classes that it is saved with, and whether all of them are of transformers.

    A pyramid that has nothing to resize is taken out of `model` itself.
    """
    if head.holds_backbone:
        return model, True
    if (stock := head.stock(model)) is not None:
        return stock, True
    if head.own_class is None:
        return model, False
    name, pyramid = pyramid_in(model)
    if isinstance(pyramid.backbone, TimmFeatures) or not has_native_pyramid(pyramid.backbone, pyramid.config.strides):
        return _under_own_name(model, head.own_class), False
    model.set_submodule(name, pyramid.backbone)
    model.config.backbone_config = pyramid.backbone.config
    return model, True


@torch.inference_mode()
def has_native_pyramid(backbone: PreTrainedModel, strides: Sequence[int]) -> bool:
    """Whether a backbone's own maps lie at these strides at any input size, with nothing to resize."""
    height, width = UNEVEN
    try:
        maps = backbone(torch.zeros(1, backbone.config.num_channels, height, width)).feature_maps
    except (ValueError, RuntimeError):  # it takes one size only, or multiples of its patch
        return False
    return [m.shape[-2:] for m in maps] == [(-(-height // s), -(-width // s)) for s in strides]


def _under_own_name(model: PreTrainedModel, own_class: Any) -> PreTrainedModel:
    """A copy of a model in a class of ours that differs in name only; weights and settings are the same."""
    own_config: type[PreTrainedConfig] = own_class.config_class
    settings = {name: value for name, value in model.config.to_dict().items() if name != "model_type"}
    own = own_class(own_config.from_dict(settings))
    own.load_state_dict(model.state_dict())
    return own
