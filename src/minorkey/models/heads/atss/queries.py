"""Assigned anchors as further queries of a decoder: Co-DETR's "customized positive queries" (arXiv 2211.12860)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minorkey.models.heads.atss.anchors import Shape, square_anchors
from minorkey.models.heads.atss.assign import NOBODY, atss_assign


@dataclass(frozen=True)
class PositiveAnchors:
    """The assigned anchors of one image, object by object. Nothing has to be matched: each says what it is to find."""

    boxes: Tensor  # (P, 4) float32 x0 y0 x1 y1 in pixels, clipped to the image
    classes: Tensor  # (P,) int64
    objects: Tensor  # (P,) int64, row of the image's boxes
    places: Tensor  # (P,) int64, index into the flattened maps, one after the other, finest first


@torch.no_grad()
def positive_anchors(
    boxes: Sequence[Tensor],
    classes: Sequence[Tensor],
    shapes: Sequence[Shape],
    image_size: Shape,
    most: int = 300,
) -> list[PositiveAnchors]:
    """The anchors that ATSS assigns, at most `most` per image.

    Where there are more, every n-th of them is taken, so that each object keeps its share. Co-DETR draws them at
    random; its limit is 300 as well.

    Args:
        boxes: per image `(N_i, 4)`, x0 y0 x1 y1 in pixels, each with an area; N_i may be 0.
        classes: per image `(N_i,)` int64.
        shapes: heights and widths of the feature maps, finest first.
        image_size: height and width of the batch in pixels.
        most: anchors per image.
    """
    return [_of_image(image, labels, shapes, image_size, most) for image, labels in zip(boxes, classes, strict=True)]


def _of_image(boxes: Tensor, classes: Tensor, shapes: Sequence[Shape], image_size: Shape, most: int) -> PositiveAnchors:
    owners = atss_assign(boxes.float(), shapes, image_size)
    places = (owners != NOBODY).nonzero().squeeze(1)
    places = _thinned(places[owners[places].argsort(stable=True)], most)
    height, width = image_size
    anchors = square_anchors(shapes, image_size, boxes.device)[places]
    clipped = anchors.clamp(min=0).minimum(anchors.new_tensor([width, height, width, height]))
    return PositiveAnchors(clipped, classes[owners[places]], owners[places], places)


def _thinned(values: Tensor, most: int) -> Tensor:
    if len(values) <= most:
        return values
    return values[torch.arange(most, device=values.device) * len(values) // most]
