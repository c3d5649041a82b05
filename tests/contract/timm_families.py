"""Rows of timm's networks, where timm is installed; `make test-timm` runs them in an environment of its own."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from family import EACH, MLP, Family, Inputs, each, image
from torch import nn

from minorkey.adapters.options import Role

TIMM_INSTALLED = find_spec("timm") is not None


def pixels(side: int = 32) -> Inputs:
    """The images, under the name that timm gives them."""
    return {"x": image(side)["pixel_values"]}


def create(architecture: str, **settings: Any) -> nn.Module:
    """A timm network without pooling and classifier."""
    import timm

    return timm.create_model(architecture, num_classes=0, global_pool="", **settings)


def calls_its_projection(network: nn.Module) -> nn.Module:
    """Where query and value have biases of their own, timm reads the fused weight past the layer, unless told so.

    An adapter on the layer would be ignored, by stock PEFT too.
    """
    for module in network.modules():
        if "qkv_bias_separate" in module.__dict__:
            module.qkv_bias_separate = True
    return network


def _timm(
    name: str, architecture: str, blocks: int, counts: Mapping[Role, int], side: int = 32, **settings: Any
) -> Family:
    def make() -> nn.Module:
        return calls_its_projection(create(architecture, **settings))

    return Family(f"timm {name}", make, blocks, counts, lambda: pixels(side), lambda output: [output])


VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2}
SWIN = {"img_size": 32, "embed_dim": 16, "depths": (1, 2), "num_heads": (2, 2), "window_size": 4}
STAGES = {"depths": (1, 1, 1, 1)}

_FAMILIES = (
    _timm("vit", "vit_tiny_patch16_224", 3, each(3), **VIT),
    _timm("vit swiglu", "vit_giant_patch14_dinov2", 3, each(3), **VIT, init_values=1.0),
    _timm("clip", "vit_base_patch16_clip_224", 3, each(3), **VIT),
    _timm("sam", "samvit_base_patch16", 3, each(3), **VIT, window_size=2, global_attn_indexes=(1,)),
    _timm("eva02", "eva02_base_patch14_224", 3, each(3, fc1=6), **VIT),
    _timm("eva02 fused", "eva02_tiny_patch14_224", 3, each(3), **VIT),
    _timm("dinov3", "vit_base_patch16_dinov3", 3, each(3), **VIT, init_values=1.0),
    _timm("beit", "beit_base_patch16_224", 3, each(3), **VIT, init_values=1.0),
    _timm("swin", "swin_tiny_patch4_window7_224", 3, each(3), **SWIN),
    _timm("swinv2", "swinv2_tiny_window8_256", 3, each(3), **SWIN),
    _timm("pvtv2", "pvt_v2_b0", 4, each(4, EACH, conv=2), side=64, **STAGES, embed_dims=(8, 16, 16, 16),
          num_heads=(1, 2, 2, 2), sr_ratios=(4, 2, 1, 1)),
    _timm("convnext", "convnext_tiny", 4, each(4, MLP), **STAGES, dims=(8, 12, 16, 16), ls_init_value=1.0),
    _timm("resnet", "resnet50", 4, {"conv": 16}, layers=(1, 1, 1, 1), channels=(4, 8, 8, 8), stem_width=4),
    _timm("mobilenetv3", "mobilenetv3_small_050", 11, {"conv": 21}),
    _timm("mobilenetv4", "mobilenetv4_conv_small_035", 12, {"conv": 24}),
)  # fmt: skip

TIMM_FAMILIES: dict[str, Family] = {family.name: family for family in _FAMILIES}
