"""Pseudo-labels of a teacher, with how far each can be relied on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minorkey.data.sample import IGNORE_INDEX


@dataclass(frozen=True)
class PseudoLabels:
    """What a teacher says of the pixels of target images; without a graph."""

    labels: Tensor  # (B, H, W) int64 train ids; IGNORE_INDEX where there is no image
    confidence: Tensor  # (B, H, W) probability of the most likely class
    kept: Tensor  # (B, H, W) bool, whether the confidence reaches the threshold; false where there is no image
    weights: Tensor  # (B, H, W) float32, the share of kept pixels of each image, the same at all of its pixels

    def sure(self) -> Tensor:
        """The labels, IGNORE_INDEX where they are not kept."""
        return self.labels.where(self.kept, IGNORE_INDEX)


@torch.no_grad()
def pseudo_labels(probabilities: Tensor, threshold: float = 0.968, filled: Tensor | None = None) -> PseudoLabels:
    """Most likely classes, and the confidence weight of DACS (arXiv 2007.08702) and DAFormer (arXiv 2111.14887).

    The weight of a pixel is the share of sure pixels, there among all pixels of a batch, here among those of its own
    image: so that what an image weighs does not depend on which others it was drawn with.

    Args:
        probabilities: `(B, K, H, W)`.
        threshold: confidence from which a pixel is sure, in [0, 1].
        filled: `(B, H, W)` bool, false where a crop is larger than its image; None: nowhere.
    """
    confidence, labels = probabilities.max(dim=1)
    filled = torch.ones_like(labels, dtype=torch.bool) if filled is None else filled
    kept = (confidence >= threshold) & filled
    shares = kept.sum(dim=(1, 2), keepdim=True) / filled.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    return PseudoLabels(labels.where(filled, IGNORE_INDEX), confidence, kept, shares.expand(kept.shape))
