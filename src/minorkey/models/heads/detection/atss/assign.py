"""Which anchors are to find which object: adaptive training sample selection (ATSS, arXiv 1912.02424, algorithm 1)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from minorkey.models.heads.detection.atss.anchors import SCALE, Shape, nearest_places, square_anchors
from minorkey.models.heads.detection.atss.overlap import centres, iou, sides_from

CANDIDATES = 9
"""Anchors per feature map that an object considers: the paper's k."""

NOBODY = -1


@torch.no_grad()
def atss_assign(
    boxes: Tensor, shapes: Sequence[Shape], image_size: Shape, candidates: int = CANDIDATES, side: float = SCALE
) -> Tensor:
    """The object that each anchor of an image is to find.

    Candidates of an object are the anchors of each map whose centres are nearest to its own. Those are taken whose IoU
    with it reaches the mean plus the standard deviation over all its candidates, and whose centre is inside of it. An
    anchor that several objects take goes to the one of highest IoU, of equal ones to the first. An object in which
    no centre lies gets no anchor.

    Args:
        boxes: `(N, 4)` of the objects, x0 y0 x1 y1 in pixels; N may be 0.
        shapes: heights and widths of the feature maps, finest first.
        image_size: height and width of the image in pixels.
        candidates: per object and map.
        side: of an anchor, in strides of its map.

    Returns:
        `(A,)` int64: rows of `boxes`, -1 where there is nothing to find.
    """
    anchors = square_anchors(shapes, image_size, boxes.device, side)
    if not len(boxes):
        return torch.full((len(anchors),), NOBODY, device=boxes.device)
    places = _candidates(boxes, shapes, image_size, candidates)
    overlaps = iou(anchors[places], boxes[:, None])
    threshold = overlaps.mean(1, keepdim=True) + overlaps.std(1, keepdim=True)
    inside = sides_from(centres(anchors[places]), boxes[:, None]).amin(-1) > 0
    return _without_conflicts(places, overlaps, (overlaps >= threshold) & inside, len(anchors))


def _candidates(boxes: Tensor, shapes: Sequence[Shape], image_size: Shape, count: int) -> Tensor:
    """Places `(N, K)` of the anchors near each object, counted over all maps."""
    points, first, places = centres(boxes), 0, []
    for shape in shapes:
        places.append(first + nearest_places(points, shape, image_size, count))
        first += shape[0] * shape[1]
    return torch.cat(places, 1)


def _without_conflicts(places: Tensor, overlaps: Tensor, taken: Tensor, total: int) -> Tensor:
    """Owner `(total,)` of each anchor, of those that take it `(N, K)`."""
    objects = torch.arange(len(places), device=places.device)[:, None].expand_as(places)
    nobody = torch.full_like(objects, len(places))
    claims = torch.where(taken, overlaps, -1.0)
    highest = claims.new_full((total,), -1.0).scatter_reduce(0, places.flatten(), claims.flatten(), "amax")
    winners = torch.where(taken & (claims == highest[places]), objects, nobody)
    owners = winners.new_full((total,), len(places)).scatter_reduce(0, places.flatten(), winners.flatten(), "amin")
    return torch.where(owners == len(places), NOBODY, owners)
