"""What the ATSS head learns by: focal loss, GIoU weighted by centerness, and the centerness itself."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from minorkey.models.heads.detection.atss.anchors import Shape, decode, square_anchors
from minorkey.models.heads.detection.atss.assign import NOBODY, atss_assign
from minorkey.models.heads.detection.atss.head import AtssOutput
from minorkey.models.heads.detection.atss.overlap import centerness, centres, giou
from minorkey.system.reduction import process_count, sum_over_processes

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
        assigned = [atss_assign(image.float(), output.shapes, image_size, side=output.side) for image in boxes]
        owners = torch.stack(assigned)
        found, places = owners != NOBODY, owners.clamp(min=0)
        everything = pad_sequence([_at_least_one(image.float(), 1.0) for image in boxes], batch_first=True)
        names = pad_sequence([_at_least_one(image, 0) for image in classes], batch_first=True)
        anchors = square_anchors(output.shapes, image_size, owners.device, output.side)
        wanted = everything.take_along_dim(places[..., None], 1)
        wanted = torch.where(found[..., None], wanted, anchors)  # which has an area
        central = torch.where(found, centerness(centres(anchors), wanted), 0.0)
        sums = sum_over_processes(torch.stack([found.sum().to(central), central.sum()])) / process_count()
        count, weight = sums[0].clamp(min=1.0), sums[1].clamp(min=1e-6)
        every = torch.arange(output.logits.shape[-1], device=owners.device)
        targets = names.gather(1, places).where(found, NOBODY)[..., None] == every
        missed = 1 - giou(decode(output.deltas.float(), anchors), wanted)
        judged = F.binary_cross_entropy_with_logits(output.centerness.float(), central, reduction="none")
        return {
            "atss_class": focal_loss(output.logits.float(), targets.float()) / count,
            "atss_box": BOX_WEIGHT * (central * missed).sum() / weight,
            "atss_centerness": torch.where(found, judged, 0.0).sum() / count,
        }


def _at_least_one(values: Tensor, filling: float) -> Tensor:
    """The values `(N, ...)`, or one row of `filling` where there are none."""
    return values if len(values) else values.new_full((1, *values.shape[1:]), filling)


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
