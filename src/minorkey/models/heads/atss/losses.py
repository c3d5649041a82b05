"""What the ATSS head learns by: focal loss, GIoU weighted by centerness, and the centerness itself."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from minorkey.models.heads.atss.anchors import Shape, decode, square_anchors
from minorkey.models.heads.atss.assign import NOBODY, atss_assign
from minorkey.models.heads.atss.head import AtssOutput
from minorkey.models.heads.atss.overlap import centerness, centres, giou
from minorkey.reduction import process_count, sum_over_processes

ALPHA, GAMMA = 0.25, 2.0
BOX_WEIGHT = 2.0
"""Weight of the box loss beside the other two, in the authors' settings."""


def atss_losses(
    output: AtssOutput, boxes: Sequence[Tensor], classes: Sequence[Tensor], image_size: Shape
) -> dict[str, Tensor]:
    """The losses of ATSS on a batch (arXiv 1912.02424), in float32 under autocast as well.

    Focal and centerness loss are divided by the number of assigned anchors, at least 1; the box loss is a mean
    weighted by centerness. Both sums are averages over the processes that share the batch, as in the authors' code.
    Without any object the last two are 0, with gradients of 0.

    Args:
        output: of an `AtssHead`, with or without gradient.
        boxes: per image `(N_i, 4)`, x0 y0 x1 y1 in pixels, each with an area; N_i may be 0.
        classes: per image `(N_i,)` int64, 0 ... K - 1.
        image_size: height and width of the batch in pixels.

    Returns:
        Scalars `atss_class`, `atss_box` (times 2) and `atss_centerness`. Co-DETR gives their sum a weight of 2 for
        each layer of its decoder (arXiv 2211.12860).
    """
    with torch.autocast(output.logits.device.type, enabled=False):
        images, places, rows = _assigned(boxes, output.shapes, image_size)
        anchors, wanted = square_anchors(output.shapes, image_size, rows.device)[places], torch.cat([*boxes])[rows]
        central = centerness(centres(anchors), wanted.float())
        sums = sum_over_processes(torch.stack([central.new_tensor(len(rows)), central.sum()])) / process_count()
        count, weight = sums.clamp(min=sums.new_tensor([1.0, 1e-6]))
        targets = torch.zeros_like(output.logits, dtype=torch.float32)
        targets[images, places, torch.cat([*classes])[rows]] = 1
        missed = 1 - giou(decode(output.deltas[images, places].float(), anchors), wanted.float())
        judged = output.centerness[images, places].float()
        return {
            "atss_class": focal_loss(output.logits.float(), targets) / count,
            "atss_box": BOX_WEIGHT * (central * missed).sum() / weight,
            "atss_centerness": F.binary_cross_entropy_with_logits(judged, central, reduction="sum") / count,
        }


def _assigned(boxes: Sequence[Tensor], shapes: Sequence[Shape], image_size: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Image, place and object of every assigned anchor, `(P,)` each; objects are counted over all images."""
    owners = torch.stack([atss_assign(image.float(), shapes, image_size) for image in boxes])
    images, places = (owners != NOBODY).nonzero(as_tuple=True)
    counts = torch.tensor([len(image) for image in boxes], device=owners.device)
    return images, places, owners[images, places] + (counts.cumsum(0) - counts)[images]


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the sigmoid focal loss (arXiv 1708.02002, equation 5) with alpha 0.25 and gamma 2.

    Args:
        logits: any shape.
        targets: the same, 0 or 1.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probabilities = logits.sigmoid()
    missed = torch.where(targets > 0, 1 - probabilities, probabilities)
    return (torch.where(targets > 0, ALPHA, 1 - ALPHA) * missed**GAMMA * entropy).sum()
