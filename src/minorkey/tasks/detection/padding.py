"""Images on a canvas whose sides fit the pyramid of a detector."""

import torch.nn.functional as F
from torch import Tensor

UNIT = 32
"""Pixels in a cell of the pyramid's coarsest level; the encoders want the others to have exactly 2 x 2 and 4 x 4."""


def padded(images: Tensor) -> Tensor:
    """Images `(B, 3, H, W)` with 0, the mean colour, at the right and bottom, up to multiples of 32."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % UNIT, 0, -height % UNIT))
