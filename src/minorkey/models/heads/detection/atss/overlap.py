"""How boxes lie to one another: IoU, GIoU, centerness. Boxes are x0 y0 x1 y1, compared one by one with broadcasting."""

import torch
from torch import Tensor


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    return _area(torch.cat([torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])], -1))


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union `(...)` of boxes `(..., 4)`, one of each pair with an area."""
    common = _intersection(a, b)
    return common / (_area(a) + _area(b) - common)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalized IoU `(...)` of boxes `(..., 4)`, -1 ... 1: less the share of their hull that is neither's.

    Rezatofighi et al. (arXiv 1902.09630), algorithm 1.
    """
    common = _intersection(a, b)
    union = _area(a) + _area(b) - common
    hull = _area(torch.cat([torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])], -1))
    return common / union - (hull - union) / hull


def sides_from(points: Tensor, boxes: Tensor) -> Tensor:
    """Distances `(..., 4)` of points `(..., 2)` to the left, upper, right and lower side of boxes; < 0 beyond it."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], -1)


def centerness(points: Tensor, boxes: Tensor) -> Tensor:
    """How central points `(..., 2)` are in the boxes `(..., 4)` they lie in: 1 in the middle, 0 at the rim.

    FCOS (arXiv 1904.01355), equation 3.
    """
    sides = sides_from(points, boxes)
    near, far = torch.minimum(sides[..., :2], sides[..., 2:]), torch.maximum(sides[..., :2], sides[..., 2:])
    return (near / far).prod(-1).sqrt()


def centres(boxes: Tensor) -> Tensor:
    """Middles `(..., 2)`, x y, of boxes `(..., 4)`."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2
