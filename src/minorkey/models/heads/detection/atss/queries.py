"""Assigned anchors as further queries of a decoder: Co-DETR's "customized positive queries" (arXiv 2211.12860)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from minorkey.models.heads.detection.atss.anchors import Shape, clipped, square_anchors
from minorkey.models.heads.detection.atss.assign import CANDIDATES, NOBODY, atss_assign

MOST = 300
"""Anchors per image, as in Co-DETR."""


class PositiveAnchors(NamedTuple):
    """The assigned anchors of a batch, object by object. Nothing has to be matched: each says what it is to find.

    How many there are only the device knows, so that all images are filled up to as many as there may be.
    """

    boxes: Tensor  # (B, P, 4) float32 x0 y0 x1 y1 in pixels, clipped to the image
    objects: Tensor  # (B, P) int64, row of the image's boxes; 0 where `real` is false
    places: Tensor  # (B, P) int64, index into the flattened maps, one after the other, finest first
    real: Tensor  # (B, P) bool, false where an image is filled up


@torch.no_grad()
def positive_anchors(
    boxes: Sequence[Tensor], shapes: Sequence[Shape], image_size: Shape, most: int = MOST
) -> PositiveAnchors:
    """The anchors that ATSS assigns, at most `most` per image.

    Where there are more, every n-th of them is taken, so that each object keeps its share. Co-DETR draws them at
    random.

    Args:
        boxes: per image `(N_i, 4)`, x0 y0 x1 y1 in pixels, each with an area; N_i may be 0.
        shapes: heights and widths of the feature maps, finest first.
        image_size: height and width of the batch in pixels.
        most: anchors per image.
    """
    owners = torch.stack([atss_assign(image.float(), shapes, image_size) for image in boxes])
    anchors, device = square_anchors(shapes, image_size, owners.device), owners.device
    candidates = sum(min(CANDIDATES, height * width) for height, width in shapes)
    count = min(most, len(anchors), candidates * max(len(image) for image in boxes))
    positive = owners != NOBODY
    found = positive.sum(1, keepdim=True)
    order = owners.where(positive, torch.iinfo(owners.dtype).max).argsort(dim=1, stable=True)
    ranks = torch.arange(count, device=device).expand(len(owners), -1)
    places = order.gather(1, torch.where(found > count, ranks * found // max(count, 1), ranks))
    return PositiveAnchors(
        clipped(anchors[places], image_size), owners.gather(1, places).clamp(min=0), places, ranks < found
    )
