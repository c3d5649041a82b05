"""From options to a detection model: pretrained backbone, the last levels of its pyramid, head."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from minorkey.errors import ModelError, unknown
from minorkey.models.build import place_pyramid
from minorkey.models.heads.detection import d_fine, deformable_detr, rt_detr_v2
from minorkey.models.heads.detection.atss.detector import AtssConfig, AtssForObjectDetection
from minorkey.models.heads.detection.collaborative import CollaborativeHead, Decoding
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidBackbone, PyramidConfig
from minorkey.models.quiet import quiet_libraries

STRIDES = (8, 16, 32)
WIDTH = 256


@dataclass(frozen=True)
class DetectorSpec:
    """How one head is built, and how its decoder takes the queries of an auxiliary head."""

    build: Callable[[PyramidConfig, int, int, HeadOptions], PreTrainedModel]  # features, classes, channels
    decoding: Decoding | None  # None: there is no decoder


def _atss(features: PyramidConfig, num_labels: int, channels: int, options: HeadOptions) -> PreTrainedModel:
    config = AtssConfig(backbone_config=features, num_labels=num_labels, channels=channels)
    config.layers = options.decoder_layers or config.layers
    config.num_queries = options.queries or config.num_queries
    return AtssForObjectDetection(config)


DETECTION_HEADS = {
    "deformable_detr": DetectorSpec(deformable_detr.build_deformable_detr, deformable_detr.DECODING),
    "rt_detr_v2": DetectorSpec(rt_detr_v2.build_rt_detr_v2, rt_detr_v2.DECODING),
    "d_fine": DetectorSpec(d_fine.build_d_fine, d_fine.DECODING),
    "atss": DetectorSpec(_atss, None),
}


def build_detector(backbone: PreTrainedModel, head: HeadOptions, num_labels: int, seed: int) -> PreTrainedModel:
    """A detection model around a loaded backbone; the head starts from `seed`, whatever came before.

    Of the backbone's feature maps the last three are read, at strides 8, 16 and 32. It gives no others from then on.

    Raises:
        ModelError: the head cannot be built as asked, finds no boxes, or the backbone has too few feature maps.
    """
    if head.name not in DETECTION_HEADS:
        raise ModelError(f"head.name for detection: {unknown('head', head.name, DETECTION_HEADS)}")
    keep_last_maps(backbone, head.name)
    with torch.random.fork_rng(devices=[]), quiet_libraries():
        pyramid = PyramidBackbone.around(backbone, list(STRIDES))
        torch.manual_seed(seed)
        spec = DETECTION_HEADS[head.name]
        model = spec.build(pyramid.config, num_labels, head.channels or WIDTH, head)
        if head.auxiliary is not None:
            if spec.decoding is None:
                raise ModelError(f"head.auxiliary teaches the encoder of a DETR; {head.name} has none, leave it out")
            CollaborativeHead(model.config, spec.decoding).join(model)
    place_pyramid(model, pyramid)
    return model


def keep_last_maps(backbone: PreTrainedModel, head: str) -> None:
    """Let a backbone give the last three of its feature maps, in place.

    Raises:
        ModelError: it gives fewer.
    """
    given = backbone.config.out_features
    if len(given) < len(STRIDES):
        raise ModelError(
            f"{head} reads 3 feature maps, the backbone gives {len(given)}; set backbone.out_blocks to 3 blocks"
        )
    backbone.config.out_features = given[-len(STRIDES) :]
    for module in backbone.modules():
        if isinstance(module, nn.ModuleDict):  # Swin, ConvNeXt and Hiera have a norm for each map that they give
            for stage in set(given[: -len(STRIDES)]) & set(module.keys()):
                del module[stage]
