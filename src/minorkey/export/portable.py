"""A trained model in the classes that others can load it with: stock ones where there are such."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from minorkey.export.pyramid_models import PYRAMID_MODELS, under_own_name
from minorkey.models.heads.segmentation.eomt import EOMT_MODELS
from minorkey.models.pyramid import PyramidBackbone
from minorkey.models.timm_backbone import TimmFeatures

UNEVEN = 198, 230  # no multiple of any stride: who rounds sides down shows it here, at every level


def portable(model: PreTrainedModel) -> tuple[PreTrainedModel, bool]:
    """The model in the classes that it is saved with, and whether all of them are of transformers.

    A pyramid that has nothing to resize is taken out of `model` itself.
    """
    if isinstance(model, EOMT_MODELS):
        return model, True
    if type(model) not in PYRAMID_MODELS:
        return model, False
    name, pyramid = next((name, part) for name, part in model.named_modules() if isinstance(part, PyramidBackbone))
    if isinstance(pyramid.backbone, TimmFeatures) or not has_native_pyramid(pyramid.backbone, pyramid.config.strides):
        return under_own_name(model), False
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
