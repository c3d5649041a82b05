"""Tiny plain ViTs that an EoMT can be made of."""

from transformers import (
    Dinov2Backbone,
    Dinov2Config,
    Dinov2WithRegistersBackbone,
    Dinov2WithRegistersConfig,
    DINOv3ViTBackbone,
    DINOv3ViTConfig,
)

VIT = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "patch_size": 8, "image_size": 32}
PLAIN_VITS = {
    "dinov2": lambda: Dinov2Backbone(Dinov2Config(**VIT)),
    "dinov2 swiglu": lambda: Dinov2Backbone(Dinov2Config(**VIT, use_swiglu_ffn=True)),
    "registers": lambda: Dinov2WithRegistersBackbone(Dinov2WithRegistersConfig(**VIT, num_register_tokens=3)),
    "dinov3": lambda: DINOv3ViTBackbone(
        DINOv3ViTConfig(**VIT, intermediate_size=64, num_register_tokens=3, rope_theta=50.0)
    ),
}
