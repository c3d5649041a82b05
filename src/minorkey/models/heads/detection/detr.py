"""What the DETR heads share: targets, their number, settings.

A DETR proposes a fixed set of boxes, each with a score per class (arXiv 2005.12872). What these learn by is in
`set_criterion.py`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DeformableDetrForObjectDetection, DFineForObjectDetection, RTDetrV2ForObjectDetection
from transformers.image_transforms import corners_to_center_format
from transformers.utils import ModelOutput

from minorkey.errors import ModelError
from minorkey.models.heads.detection.atss.anchors import shares
from minorkey.models.heads.detection.atss.detector import AtssForObjectDetection
from minorkey.models.heads.matching import average_count
from minorkey.models.heads.set_criterion import Targets, Terms, total
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidConfig
from minorkey.system.reduction import process_count

DETECTORS = (
    DeformableDetrForObjectDetection,
    RTDetrV2ForObjectDetection,
    DFineForObjectDetection,
    AtssForObjectDetection,
)
"""Models that take boxes and classes as `labels`, and return so many boxes with logits, as transformers' own do."""

QUERIES, DECODER_LAYERS = 300, 6
"""As in the papers of all three heads, unless told otherwise."""

WIDTH_UNIT = 32
"""The heads' attention heads and group norms divide their width by 8 or by this."""


def box_targets(boxes: Sequence[Tensor], classes: Sequence[Tensor], size: tuple[int, int]) -> Targets:
    """What a DETR is to find in a batch.

    Shares are of the whole batch image, padding included, as is the image that the model sees: it gets no mask.

    Args:
        boxes: per image `(N, 4)`, x0 y0 x1 y1 in pixels.
        classes: per image `(N,)` int64.
        size: height and width of the batch in pixels.
    """
    each = corners_to_center_format(shares(torch.cat([*boxes]), size)).split([len(image) for image in boxes])
    return [{"class_labels": labels, "boxes": image} for labels, image in zip(classes, each, strict=True)]


def objects_per_process(targets: Targets) -> Tensor | float:
    """Objects of the batch, averaged over the processes that share it, which call this at one time; at least 1."""
    return process_average(sum(len(target["boxes"]) for target in targets), targets[0]["boxes"].device)


def process_average(count: int, device: torch.device) -> Tensor | float:
    """A count, averaged over the processes, which call this at one time; at least 1. With several, on the device."""
    if process_count() == 1:
        return max(1.0, count)
    return average_count(torch.full((), float(count), device=device))


def add_terms(output: ModelOutput, terms: Terms) -> None:
    """Count further terms in a model's loss."""
    output.loss_dict = {**output.loss_dict, **terms}
    output.loss = output.loss + total(terms)


def check_width(channels: int, name: str) -> None:
    """Refuse a width that does not divide into attention heads and groups.

    Raises:
        ModelError: it is no multiple of 32.
    """
    if channels % WIDTH_UNIT:
        raise ModelError(f"head.channels is {channels}; {name} takes a multiple of {WIDTH_UNIT}, as a rule 256")


def shared_settings(backbone: PyramidConfig, num_labels: int, channels: int, options: HeadOptions) -> dict[str, Any]:
    """What the configurations of all three heads call by one name."""
    return {
        "backbone_config": backbone,
        "num_labels": num_labels,
        "d_model": channels,
        "num_queries": options.queries or QUERIES,
        "decoder_layers": options.decoder_layers or DECODER_LAYERS,
        "encoder_ffn_dim": 4 * channels,
        "decoder_ffn_dim": 4 * channels,
    }
