"""Which of many boxes are of one object: non-maximum suppression without a loop."""

import torch
from torch import Tensor

from minorkey.models.heads.detection.atss.overlap import iou


def distinct(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """The boxes that overlap no surer box of the same class: Fast NMS (YOLACT, arXiv 1904.02689, section 4.2).

    A suppressed box suppresses others too, unlike in the greedy form, which goes from box to box; in a row of boxes
    that overlap one another it keeps fewer. Of equal scores the first is surer.

    Args:
        boxes: `(..., Q, 4)`, x0 y0 x1 y1; those without an area overlap nothing.
        scores: `(..., Q, K)`.
        overlap: IoU above which boxes are taken for one.

    Returns:
        `(..., Q, K)` bool.
    """
    near = iou(boxes[..., :, None, :], boxes[..., None, :, :]).nan_to_num() > overlap
    first = torch.ones_like(near).tril(-1)  # j < i
    one, other = scores[..., :, None, :], scores[..., None, :, :]
    surer = (other > one) | ((other == one) & first[..., None])
    return ~(near[..., None] & surer).any(-2)
