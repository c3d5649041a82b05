"""The network families that the contract tests run over: one row each, tiny, with random weights."""

from collections.abc import Mapping
from typing import Any

import torch
import transformers as hf
from family import ATTENTION, MLP, Family, Inputs, each, image
from timm_families import TIMM_FAMILIES, TIMM_INSTALLED
from torch import nn

from minorkey.adapters.options import Role


def latent() -> Inputs:
    """What a diffusion UNet takes: noisy latents, a time, a text."""
    generator = torch.Generator().manual_seed(0)
    sample, text = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 3, 8, generator=generator)
    return {"sample": sample, "timestep": torch.tensor(10), "encoder_hidden_states": text}


def _backbone(name: str, config: str, blocks: int, counts: Mapping[Role, int], **settings: Any) -> Family:
    """A backbone class of transformers; it returns the features of every stage or block."""

    def make() -> nn.Module:
        made = getattr(hf, f"{config}Config")(**settings)
        made.out_features = [stage for stage in made.stage_names if stage != "stem"]
        return getattr(hf, f"{config}Backbone")(made)

    return Family(name, make, blocks, counts, image, lambda output: list(output.feature_maps))


def _model(name: str, config: str, blocks: int, counts: Mapping[Role, int], **settings: Any) -> Family:
    """A model class of transformers without a backbone class of its own."""

    def make() -> nn.Module:
        return getattr(hf, f"{config}Model")(getattr(hf, f"{config}Config")(**settings))

    def inputs() -> Inputs:
        return {**image(), "output_hidden_states": True}

    return Family(name, make, blocks, counts, inputs, lambda output: [*output.hidden_states, output.last_hidden_state])


def _unet() -> nn.Module:
    from diffusers import UNet2DConditionModel  # takes seconds to import

    return UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, cross_attention_dim=8,
        attention_head_dim=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip


VIT = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "patch_size": 8, "image_size": 32}
WIDE = {**VIT, "intermediate_size": 48}
SWIN = {"embed_dim": 16, "depths": [1, 2], "num_heads": [2, 2], "image_size": 32, "window_size": 4}
CONVNEXT = {"hidden_sizes": [8, 12, 16, 16], "depths": [1, 2, 1, 1]}
HGNET = {
    "embedding_size": 8, "stem_channels": [3, 8, 8], "hidden_sizes": [12, 16], "depths": [1, 1],
    "stage_in_channels": [8, 12], "stage_mid_channels": [8, 8], "stage_out_channels": [12, 16],
    "stage_num_blocks": [1, 2], "stage_downsample": [False, True], "stage_downsample_strides": [2, 2],
    "stage_light_block": [False, True], "stage_kernel_size": [3, 3], "stage_numb_of_layers": [2, 2],
}  # fmt: skip
RESNET = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2]}
PVT = {
    "hidden_sizes": [8, 16], "depths": [1, 2], "num_encoder_blocks": 2, "num_attention_heads": [1, 2],
    "sr_ratios": [2, 1], "mlp_ratios": [2, 2], "patch_sizes": [7, 3], "strides": [4, 2],
}  # fmt: skip
HIERA = {
    "embed_dim": 8, "image_size": [32, 32], "depths": [1, 2], "num_heads": [1, 2], "query_stride": [2, 2],
    "masked_unit_size": [4, 4], "num_query_pool": 1, "embed_dim_multiplier": 2.0,
}  # fmt: skip

_FAMILIES = (
    _backbone("dinov2", "Dinov2", 3, each(3), **VIT),
    _backbone("dinov2 registers", "Dinov2WithRegisters", 3, each(3), **VIT),
    _backbone("dinov2 swiglu", "Dinov2", 3, each(3, fc1=6), **VIT, use_swiglu_ffn=True),
    _backbone("dinov3 vit", "DINOv3ViT", 3, each(3), **WIDE),
    _backbone("dinov3 vit gated", "DINOv3ViT", 3, each(3, fc1=6), **WIDE, use_gated_mlp=True),
    _backbone("dinov3 convnext", "DINOv3ConvNext", 5, each(5, MLP), **CONVNEXT, layer_scale_init_value=1.0),
    _backbone("swin", "Swin", 3, each(3), **SWIN),
    _backbone("swinv2", "Swinv2", 3, each(3), **SWIN),
    _backbone("convnext", "ConvNext", 5, each(5, MLP), **CONVNEXT, layer_scale_init_value=1.0),
    _backbone("convnextv2", "ConvNextV2", 5, each(5, MLP), **CONVNEXT),
    _backbone("beit", "Beit", 3, each(3), **WIDE, layer_scale_init_value=1.0),
    _backbone("vitdet", "VitDet", 3, each(3, conv=3), **VIT, window_block_indices=[0], window_size=2,
              use_relative_position_embeddings=True, residual_block_indices=[1]),
    _backbone("pvtv2", "PvtV2", 3, each(3, conv=1), **PVT),
    _backbone("hiera", "Hiera", 3, each(3), **HIERA),
    _backbone("resnet", "ResNet", 3, {"conv": 11}, **RESNET),
    _backbone("resnet basic", "ResNet", 3, {"conv": 8}, **RESNET, layer_type="basic"),
    _backbone("rt-detr resnet", "RTDetrResNet", 3, {"conv": 11}, **RESNET),
    _backbone("hgnetv2", "HGNetV2", 3, {"conv": 12}, **HGNET),
    # With tf_padding the network reads `stride` off a layer, which stock PEFT's does not have: see test_mobilenet.
    _model("mobilenetv2", "MobileNetV2", 16, {"conv": 32}, depth_multiplier=0.25, min_depth=8, tf_padding=False),
    _model("vit", "ViT", 3, each(3), **WIDE),
    _model("deit", "DeiT", 3, each(3), **WIDE),
    _model("segformer", "Segformer", 3, each(3, conv=1), **PVT),
    _model("clip", "CLIPVision", 3, each(3), **WIDE),
    _model("siglip", "SiglipVision", 3, each(3), **WIDE),
    _model("sam", "SamVision", 3, each(3), **VIT, mlp_dim=48, output_channels=8, window_size=2,
           global_attn_indexes=[1]),
    Family("diffusion unet", _unet, 12, each(8, ATTENTION, fc1=4, fc2=4, conv=21), latent,
           lambda output: [output.sample]),
)  # fmt: skip

FAMILIES: dict[str, Family] = {family.name: family for family in _FAMILIES}

if TIMM_INSTALLED:
    FAMILIES.update(TIMM_FAMILIES)
