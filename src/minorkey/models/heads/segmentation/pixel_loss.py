"""Cross-entropy of pixels, of which some are not labelled."""

import torch.nn.functional as F
from torch import Tensor


def pixel_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, ignore_index: int = 255
) -> Tensor:
    """Cross-entropy summed up with weights, over the number of labelled pixels; 0, without gradient, where none is.

    The host does not wait for the device.

    Args:
        logits: `(B, K, H, W)`.
        labels: `(B, H, W)` int64 train ids, or `ignore_index`.
        weights: `(B, H, W)`; None: all 1.
        ignore_index: label of the pixels that do not count.

    >>> import torch
    >>> logits = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).requires_grad_()
    >>> [round(pixel_cross_entropy(logits, torch.full((1, 1, 1), label)).item(), 3) for label in (0, 1, 255)]
    [1.313, 0.313, 0.0]
    """
    labelled = labels != ignore_index
    if weights is None:
        mean = F.cross_entropy(logits, labels, ignore_index=ignore_index)
        return mean.where(labelled.any(), 0.0)  # the mean over nothing is NaN
    losses = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="none")
    return (losses * weights).sum() / labelled.sum().clamp(min=1)
