"""ATSS (arXiv 1912.02424) as a detector of its own: a feature pyramid and a dense head, with nothing to decode.

It learns in a fraction of the steps of a DETR, since an object has many places that are told of it, and a step takes
less. What it finds is given in the form of a DETR: so many boxes, each with a logit per class.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForObjectDetection
from transformers.image_transforms import corners_to_center_format
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from minorkey.models.heads.around_backbone import AroundBackbone, AroundBackboneConfig
from minorkey.models.heads.detection.atss.anchors import (
    SCALE,
    Shape,
    clipped,
    decode,
    in_pixels,
    shares,
    square_anchors,
)
from minorkey.models.heads.detection.atss.head import AtssHead, AtssOutput
from minorkey.models.heads.detection.atss.losses import atss_losses
from minorkey.models.heads.detection.atss.suppression import distinct
from minorkey.models.heads.fpn import FeaturePyramid

SUPPRESSED = -1e4
"""Added to the logit of a box that a surer one of its class overlaps: a score of 0, and finite in half precision."""

EPSILON = 1e-6
"""Least probability that has a logit."""


class AtssConfig(AroundBackboneConfig):
    """Configuration of an `AtssForObjectDetection`.

    Args:
        backbone_config: configuration of the backbone, usually a `PyramidConfig`.
        channels: width of the pyramid and the head.
        layers: convolutions under the class scores, and as many under the box.
        num_queries: boxes that are given per image.
        side: of an anchor, in strides of its map.
        overlap: IoU above which a box is taken for that of a surer one of its class, as in the paper.
    """

    model_type = "minorkey_atss"

    channels: int = 256
    layers: int = 4
    num_queries: int = 100
    side: float = SCALE
    overlap: float = 0.6


class AtssForObjectDetection(AroundBackbone):
    """A backbone with a feature pyramid and the head of ATSS."""

    config_class = AtssConfig
    base_model_prefix = "detector"

    def __init__(self, config: AtssConfig) -> None:
        super().__init__(config)
        channels = list(self.backbone.channels)
        self.neck = FeaturePyramid(channels, config.channels)
        self.head = AtssHead(config.channels, config.num_labels, len(channels), config.layers, side=config.side)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Parts start as they were made."""

    def forward(
        self, pixel_values: Tensor, labels: list[dict[str, Tensor]] | None = None, **kwargs: Any
    ) -> DetrObjectDetectionOutput:
        """Boxes of images `(B, 3, H, W)`.

        Args:
            pixel_values: normalised images.
            labels: per image `class_labels` `(N,)` int64 and `boxes` `(N, 4)`, as a DETR takes them: centre x y, width
                and height, as shares of the image.

        Returns:
            `logits` `(B, Q, K)` and `pred_boxes` `(B, Q, 4)`, in the form of the labels; with labels also `loss_dict`,
            the losses of `atss_losses`, and their sum `loss`.
        """
        size = (pixel_values.shape[-2], pixel_values.shape[-1])
        output = self.head(self.neck.maps(self.backbone(pixel_values).feature_maps))
        logits, boxes = self._surest(output, size)
        terms = None
        if labels is not None:
            corners = [in_pixels(image["boxes"], size) for image in labels]
            terms = atss_losses(output, corners, [image["class_labels"] for image in labels], size)
        loss = None if terms is None else torch.stack([*terms.values()]).sum()
        return DetrObjectDetectionOutput(loss=loss, loss_dict=terms, logits=logits, pred_boxes=boxes)

    @torch.no_grad()
    def _surest(self, output: AtssOutput, size: Shape) -> tuple[Tensor, Tensor]:
        """Logits and boxes of the places where a class is surest.

        A score is the geometric mean of the class's probability and centerness: in the order of their product, which is
        the paper's, and not as low.
        """
        scores = (output.logits.float().sigmoid() * output.centerness.float().sigmoid()[..., None]).sqrt()
        _, places = scores.amax(-1).topk(min(self.config.num_queries, scores.shape[1]))
        anchors = square_anchors(output.shapes, size, scores.device, output.side)[places]
        corners = clipped(decode(_rows(output.deltas.float(), places), anchors), size)
        kept = _rows(scores, places)
        alone = distinct(corners, kept, self.config.overlap)
        logits = kept.logit(EPSILON)
        logits = torch.where(alone, logits, logits + SUPPRESSED)
        return logits, corners_to_center_format(shares(corners, size))


def _rows(values: Tensor, places: Tensor) -> Tensor:
    """Of `(B, A, C)` those at places `(B, Q)`, `(B, Q, C)`."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[-1]))


AutoConfig.register(AtssConfig.model_type, AtssConfig)
AutoModelForObjectDetection.register(AtssConfig, AtssForObjectDetection)
