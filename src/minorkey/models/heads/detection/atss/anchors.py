"""Anchors of ATSS: one square at each place of each feature map, and which of them are near a point.

Places are counted along the rows of a map, and on from one map to the next, the finest first. How large a cell of a
map is follows from the image, so that any pyramid has anchors all over it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.image_transforms import center_to_corners_format

Shape = tuple[int, int]
"""Height and width."""

SCALE = 8.0
"""Side of an anchor in strides, as published (arXiv 1912.02424), where objects are of hundreds of pixels."""

OFFSET_STD, SIZE_STD = 0.1, 0.2
"""What a regressed offset and a regressed log size are multiplied by, as in the authors' settings."""

LARGEST_GROWTH = math.log(1000 / 16)
"""Most of a log size, before `exp` can overflow; the usual bound of detectors with anchors."""


def square_anchors(
    shapes: Sequence[Shape], image_size: Shape, device: torch.device | None = None, side: float = SCALE
) -> Tensor:
    """Anchors `(A, 4)`, x0 y0 x1 y1 in pixels: squares around the middle of every cell, which may leave the image.

    Args:
        shapes: heights and widths of the maps, finest first.
        image_size: height and width of the image in pixels.
        device: where the result is.
        side: of an anchor, in strides of its map.
    """
    return torch.cat([_of_level(shape, image_size, device, side) for shape in shapes])


def _of_level(shape: Shape, image_size: Shape, device: torch.device | None, side: float) -> Tensor:
    height, width = _cell(shape, image_size)
    y = (torch.arange(shape[0], device=device) + 0.5) * height
    x = (torch.arange(shape[1], device=device) + 0.5) * width
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    centres = torch.stack([columns, rows], -1).flatten(0, 1)
    half = side * math.sqrt(height * width) / 2
    return torch.cat([centres - half, centres + half], -1)


def nearest_places(points: Tensor, shape: Shape, image_size: Shape, count: int) -> Tensor:
    """Places of one map whose cells have the nearest middles, nearest first; of two as near, the one that comes first.

    Only a window around each point is searched. A place that is a-th nearest among the columns and b-th among the
    rows has a b places at least as near, itself among them: it is none of the `count` nearest once a or b is larger.

    Args:
        points: `(N, 2)`, x y in pixels.
        shape: height and width of the map.
        image_size: height and width of the image in pixels.
        count: how many are wanted.

    Returns:
        `(N, K)` int64, K being `count` or, on a smaller map, all places.
    """
    height, width = _cell(shape, image_size)
    rows = _nearest_cells(points[:, 1] / height, shape[0], count)
    columns = _nearest_cells(points[:, 0] / width, shape[1], count)
    down = (rows + 0.5) * height - points[:, 1:]
    across = (columns + 0.5) * width - points[:, :1]
    squared = down.square()[:, :, None] + across.square()[:, None, :]
    places = rows[:, :, None] * shape[1] + columns[:, None, :]
    order = squared.flatten(1).sort(dim=1, stable=True).indices[:, :count]
    return places.flatten(1).gather(1, order)


def _nearest_cells(at: Tensor, size: int, count: int) -> Tensor:
    """Of cells 0 ... size - 1 in a row, the `count` nearest to positions `(N,)` in cells, ascending."""
    count = min(count, size)
    first = torch.ceil(at - (count + 1) / 2).clamp(0, size - count).long()
    return first[:, None] + torch.arange(count, device=at.device)


def in_pixels(boxes: Tensor, image_size: Shape) -> Tensor:
    """Corners `(..., 4)`, x0 y0 x1 y1 in pixels, of boxes as a DETR has them: centre, width and height, as shares."""
    return scaled(center_to_corners_format(boxes), image_size)


def scaled(boxes: Tensor, factors: tuple[float, float]) -> Tensor:
    """Boxes `(..., 4)`, of which first and third are along x, times factors of height and width."""
    # By numbers: tensors made of them would have the host wait for the device.
    height, width = factors
    return torch.stack([boxes[..., 0::2] * width, boxes[..., 1::2] * height], -1).flatten(-2)


def shares(corners: Tensor, image_size: Shape) -> Tensor:
    """Corners `(..., 4)` as shares of the image, of such in pixels."""
    height, width = image_size
    return torch.stack([corners[..., 0::2] / width, corners[..., 1::2] / height], -1).flatten(-2)


def clipped(corners: Tensor, image_size: Shape) -> Tensor:
    """What of the boxes `(..., 4)`, in pixels, is in the image."""
    height, width = image_size
    within = corners[..., 0::2].clamp(0, width), corners[..., 1::2].clamp(0, height)
    return torch.stack(within, -1).flatten(-2)


def _cell(shape: Shape, image_size: Shape) -> tuple[float, float]:
    return image_size[0] / shape[0], image_size[1] / shape[1]


def decode(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Boxes `(..., 4)`, x0 y0 x1 y1 in pixels, that the regression `(..., 4)` makes of anchors `(..., 4)`.

    Offsets are in sides of the anchor, sizes are logarithms of what they are to the anchor's (Faster R-CNN,
    arXiv 1506.01497, equation 2).
    """
    sides = anchors[..., 2:] - anchors[..., :2]
    centres = anchors[..., :2] + sides / 2 + OFFSET_STD * deltas[..., :2] * sides
    half = sides * torch.exp((SIZE_STD * deltas[..., 2:]).clamp(max=LARGEST_GROWTH)) / 2
    return torch.cat([centres - half, centres + half], -1)
