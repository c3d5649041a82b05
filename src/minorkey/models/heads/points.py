"""Points of masks, on which Mask2Former compares them (arXiv 2112.01527, section 3.3; PointRend, arXiv 1912.08193).

Points are as `grid_sample` has them: x y in [-1, 1], from edge to edge of the mask. Between the middles of pixels
values are bilinear, and outside of the mask 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def random_points(rows: int, count: int, device: torch.device) -> Tensor:
    """Uniform points `(rows, count, 2)`."""
    return torch.empty(rows, count, 2, device=device).uniform_(-1, 1)


def sample(maps: Tensor, grid: Tensor) -> Tensor:
    """Values `(N, C, P)` of maps `(N, C, h, w)` at points `(N, P, 1, 2)`."""
    return F.grid_sample(maps, grid, align_corners=False).squeeze(-1)


def sample_masks(masks: Tensor, rows: Tensor, points: Tensor) -> Tensor:
    """The same of boolean masks, which are never made numbers as a whole.

    Args:
        masks: `(R, H, W)` bool, with a margin of one false pixel (`with_margin`).
        rows: `(..., 1)` int64, the mask of each row of points.
        points: `(..., P, 2)`, broadcast to the rows.

    Returns:
        `(..., P)` float32 in [0, 1].
    """
    height, width = masks.shape[-2:]
    x, y = (points[..., axis] * (side / 2 - 1) + (side - 1) / 2 for axis, side in enumerate((width, height)))
    left, top = x.floor(), y.floor()
    corner = (rows * height + top.long()) * width + left.long()
    pixels = masks.flatten()
    upper, lower = (
        torch.lerp(pixels[row].float(), pixels[row + 1].float(), x - left) for row in (corner, corner + width)
    )
    return torch.lerp(upper, lower, y - top)


def with_margin(masks: Tensor) -> Tensor:
    """Masks `(..., H, W)` with one more pixel on each side, that is in none."""
    return F.pad(masks, (1, 1, 1, 1))


@torch.no_grad()
def uncertain_points(masks: Tensor, count: int, oversample: float, share: float) -> Tensor:
    """Points `(N, count, 2)` to train masks on: where the prediction is undecided, and elsewhere.

    Args:
        masks: logits `(N, h, w)`.
        count: points of each mask.
        oversample: random points to choose from, in `count`.
        share: of the points that are the most undecided of those; the others are random.
    """
    candidates = random_points(len(masks), int(count * oversample), masks.device)
    undecided = -sample(masks[:, None], candidates[:, :, None])[:, 0].abs()
    chosen = undecided.topk(int(share * count)).indices
    others = random_points(len(masks), count - chosen.shape[1], masks.device)
    return torch.cat([candidates.take_along_dim(chosen[..., None], 1), others], 1)
