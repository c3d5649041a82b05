"""Masked image consistency (MIC, arXiv 2212.01322): patches of an image are hidden, and their labels stay."""

import torch
from torch import Tensor


def patch_mask(
    pixel_values: Tensor, ratio: float = 0.7, patch: int = 64, generator: torch.Generator | None = None
) -> Tensor:
    """Which pixels stay visible: square patches, each hidden with probability `ratio` on its own, as in MIC.

    The share that is hidden therefore differs from image to image. Hide by `pixel_values * mask`, after normalisation:
    what is hidden is 0, the mean of the data. The patches at the right and bottom may be cut.

    Args:
        pixel_values: `(B, 3, H, W)`, for the shape and the device.
        ratio: in [0, 1].
        patch: side of a patch, in pixels.
        generator: on the device of `pixel_values`; None: the device's own.

    Returns:
        `(B, 1, H, W)` bool, true where the image stays.

    >>> visible = patch_mask(torch.zeros(1, 3, 4, 6), ratio=1.0, patch=2)
    >>> tuple(visible.shape), visible.any().item()
    ((1, 1, 4, 6), False)
    """
    batch, _, height, width = pixel_values.shape
    grid = (batch, 1, -(-height // patch), -(-width // patch))
    visible = torch.rand(grid, generator=generator, device=pixel_values.device) >= ratio
    return visible.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)[..., :height, :width]
