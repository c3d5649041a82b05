"""transformers' segmentation and detection models on a resized pyramid, under names of their own.

A folder that called itself `upernet` or `mask2former` would promise stock classes, and its backbone is none.
"""

from transformers import (
    DeformableDetrConfig,
    DeformableDetrForObjectDetection,
    DFineConfig,
    DFineForObjectDetection,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)


class PyramidUperNetConfig(UperNetConfig):
    """Configuration of a `PyramidUperNetForSemanticSegmentation`; its `backbone_config` is a pyramid's."""

    model_type = "minorkey_upernet"


class PyramidUperNetForSemanticSegmentation(UperNetForSemanticSegmentation):
    """transformers' UperNet, unchanged."""

    config_class = PyramidUperNetConfig


class PyramidMask2FormerConfig(Mask2FormerConfig):
    """Configuration of a `PyramidMask2FormerForUniversalSegmentation`; its `backbone_config` is a pyramid's."""

    model_type = "minorkey_mask2former"
    backbones_supported = ["swin", "minorkey_pyramid"]  # noqa: RUF012  as transformers declares it


class PyramidMask2FormerForUniversalSegmentation(Mask2FormerForUniversalSegmentation):
    """transformers' Mask2Former, unchanged."""

    config_class = PyramidMask2FormerConfig


class PyramidRTDetrV2Config(RTDetrV2Config):
    """Configuration of a `PyramidRTDetrV2ForObjectDetection`; its `backbone_config` is a pyramid's."""

    model_type = "minorkey_rt_detr_v2"


class PyramidRTDetrV2ForObjectDetection(RTDetrV2ForObjectDetection):
    """transformers' RT-DETRv2, unchanged."""

    config_class = PyramidRTDetrV2Config


class PyramidDFineConfig(DFineConfig):
    """Configuration of a `PyramidDFineForObjectDetection`; its `backbone_config` is a pyramid's."""

    model_type = "minorkey_d_fine"


class PyramidDFineForObjectDetection(DFineForObjectDetection):
    """transformers' D-FINE, unchanged."""

    config_class = PyramidDFineConfig


class PyramidDeformableDetrConfig(DeformableDetrConfig):
    """Configuration of a `PyramidDeformableDetrForObjectDetection`; its `backbone_config` is a pyramid's."""

    model_type = "minorkey_deformable_detr"


class PyramidDeformableDetrForObjectDetection(DeformableDetrForObjectDetection):
    """transformers' Deformable DETR, unchanged."""

    config_class = PyramidDeformableDetrConfig
