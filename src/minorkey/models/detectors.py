"""The heads of object detection, a row each, on the last levels of a backbone's pyramid."""

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from minorkey.errors import ModelError
from minorkey.models.build import PyramidHead, head_catalog
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

STRIDES = (8, 16, 32)
WIDTH = 256


@dataclass(frozen=True, kw_only=True)
class DetectionHead(PyramidHead):
    """A head on the last three feature maps, at strides 8, 16 and 32; the backbone gives no others from then on.

    Args:
        decoding: how its decoder takes the queries of an auxiliary head; None: there is no decoder.
    """

    decoding: Decoding | None = None
    channels: int = WIDTH
    strides: tuple[int, ...] | None = STRIDES

    def on(self, backbone: PreTrainedModel, num_labels: int, options: HeadOptions, seed: int) -> PreTrainedModel:
        """A model around the backbone, with an auxiliary head where one is asked for."""
        keep_last_maps(backbone, options.name)
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
