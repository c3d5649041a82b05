"""The heads of object detection, a row each, on the last levels of a backbone's pyramid."""

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from minorkey.errors import ModelError
from minorkey.models.build import PYRAMID_STRIDES, PyramidHead, head_catalog
from minorkey.models.heads.detection import d_fine, deformable_detr, rt_detr_v2
from minorkey.models.heads.detection.atss.detector import AtssConfig, AtssForObjectDetection
from minorkey.models.heads.detection.collaborative import CollaborativeHead, Decoding
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidConfig
from minorkey.models.pyramid_models import (
    PyramidDeformableDetrForObjectDetection,
    PyramidDFineForObjectDetection,
    PyramidRTDetrV2ForObjectDetection,
)
from minorkey.models.quiet import quiet_libraries

LEVELS = 3
"""Feature maps that a detector reads, the coarsest at stride 32, unless `head.levels` says otherwise."""

WIDTH = 256


@dataclass(frozen=True, kw_only=True)
class DetectionHead(PyramidHead):
    """A head on the last feature maps, three as a rule, up to stride 32; the backbone gives no others from then on.

    Args:
        decoding: how its decoder takes the queries of an auxiliary head; None: there is no decoder.
    """

    decoding: Decoding | None = None
    channels: int = WIDTH

    def strides_of(self, maps: int) -> list[int]:
        """The coarsest strides."""
        return list(PYRAMID_STRIDES[-maps:])

    def on(self, backbone: PreTrainedModel, num_labels: int, options: HeadOptions, seed: int) -> PreTrainedModel:
        """A model around the backbone, with an auxiliary head where one is asked for."""
        if options.levels is not None and self.decoding is not None:
            raise ModelError(f"head.levels is for atss; {options.name} reads {LEVELS} feature maps, leave it out")
        keep_last_maps(backbone, options.name, options.levels or LEVELS)
        with quiet_libraries():
            model = super().on(backbone, num_labels, options, seed)
            if options.auxiliary is not None:
                if self.decoding is None:
                    raise ModelError(
                        f"head.auxiliary teaches the encoder of a DETR; {options.name} has none, leave it out"
                    )
                CollaborativeHead(model.config, self.decoding).join(model)
        return model


def _atss(features: PyramidConfig, num_labels: int, channels: int, options: HeadOptions) -> PreTrainedModel:
    config = AtssConfig(backbone_config=features, num_labels=num_labels, channels=channels)
    config.layers = options.decoder_layers or config.layers
    config.num_queries = options.queries or config.num_queries
    config.side = options.anchor or config.side
    return AtssForObjectDetection(config)


def _encoder(model: Any) -> list[nn.Module]:
    return [model.model.encoder]


DETECTION_HEADS = head_catalog(
    {
        "deformable_detr": DetectionHead(
            build=deformable_detr.build_deformable_detr,
            decoding=deformable_detr.DECODING,
            own_class=PyramidDeformableDetrForObjectDetection,
            fixed=_encoder,
        ),
        "rt_detr_v2": DetectionHead(
            build=rt_detr_v2.build_rt_detr_v2,
            decoding=rt_detr_v2.DECODING,
            own_class=PyramidRTDetrV2ForObjectDetection,
            fixed=_encoder,
        ),
        "d_fine": DetectionHead(
            build=d_fine.build_d_fine, decoding=d_fine.DECODING, own_class=PyramidDFineForObjectDetection
        ),
        "atss": DetectionHead(build=_atss),
    }
)


def keep_last_maps(backbone: PreTrainedModel, head: str, count: int) -> None:
    """Let a backbone give the last `count` of its feature maps, in place.

    Raises:
        ModelError: it gives fewer.
    """
    given = backbone.config.out_features
    if len(given) < count:
        raise ModelError(
            f"{head} reads {count} feature maps, the backbone gives {len(given)}; "
            f"set backbone.out_blocks to {count} blocks"
        )
    backbone.config.out_features = given[-count:]
    for module in backbone.modules():
        if isinstance(module, nn.ModuleDict):  # Swin, ConvNeXt and Hiera have a norm for each map that they give
            for stage in set(given[:-count]) & set(module.keys()):
                del module[stage]
