"""Pseudo-labels of a teacher, with how far each can be relied on, and signs of health that need no target label.

All of it stays on the device of what it is given: nothing makes the host wait.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from minorkey.labels import IGNORE_INDEX


@dataclass(frozen=True)
class PseudoLabels:
    """The classes that a teacher predicts for target images, or for each of their pixels; without a graph."""

    labels: Tensor  # (B, ...) int64 train ids; IGNORE_INDEX where there is no image
    confidence: Tensor  # (B, ...) probability of the most likely class
    kept: Tensor  # (B, ...) bool, whether the confidence reaches the threshold; false where there is no image
    weights: Tensor  # (B, ...) float32, the share of kept labels of each image, the same at all of its pixels


@torch.no_grad()
def pseudo_labels(probabilities: Tensor, threshold: float = 0.968, filled: Tensor | None = None) -> PseudoLabels:
    """Most likely classes, and the confidence weight of DACS (arXiv 2007.08702) and DAFormer (arXiv 2111.14887).

    The weight of a pixel is the share of sure pixels, there among all pixels of a batch, here among those of its own
    image: so that what an image weighs does not depend on which others it was drawn with.

    Args:
        probabilities: `(B, K, H, W)`, or of whole images `(B, K)`.
        threshold: confidence from which a label is sure, in [0, 1].
        filled: bool in the shape of the labels, false where a crop is larger than its image; None: nowhere.

    >>> found = pseudo_labels(torch.tensor([[0.98, 0.02], [0.4, 0.6]]))
    >>> found.labels.tolist(), found.kept.tolist(), found.weights.tolist()
    ([0, 1], [True, False], [1.0, 0.0])
    """
    confidence, labels = probabilities.max(dim=1)
    filled = torch.ones_like(labels, dtype=torch.bool) if filled is None else filled
    kept = (confidence >= threshold) & filled
    shares = _per_image(kept) / _per_image(filled).clamp(min=1)
    return PseudoLabels(labels.where(filled, IGNORE_INDEX), confidence, kept, shares.expand(kept.shape))


def health_signals(pseudo: PseudoLabels, source_labels: Tensor, classes: int) -> dict[str, Tensor]:
    """Label-free signs of how an adaptation goes: shares and means over the labels, of which padding is none.

    Args:
        pseudo: the pseudo-labels of the batch.
        source_labels: `(B, ...)`.
        classes: K.

    Returns:
        Scalars `confidence` and `kept`, and `pseudo_classes` and `source_classes` `(K,)`.
    """
    shown = pseudo.labels < classes  # IGNORE_INDEX is a class like any other where there are more than 255
    count = shown.sum().clamp(min=1)
    return {
        "confidence": (pseudo.confidence * shown).sum() / count,
        "kept": pseudo.kept.sum() / count,
        "pseudo_classes": class_shares(pseudo.labels, classes),
        "source_classes": class_shares(source_labels, classes),
    }


def agreement(student: Tensor, teacher: Tensor, classes: int = IGNORE_INDEX) -> Tensor:
    """Share of the labels where student and teacher predict the same class.

    Args:
        student: `(B, ...)` integer train ids. Nothing is compared where it is IGNORE_INDEX, if that is no class.
        teacher: the same of the teacher.
        classes: K.

    Returns:
        Scalar in [0, 1]; 0 where nothing can be compared.

    >>> agreement(torch.tensor([0, 1, 2, 255]), torch.tensor([0, 1, 1, 1])).item()
    0.6666666865348816
    >>> agreement(torch.tensor([0, 255]), torch.tensor([1, 255]), classes=300).item()
    0.5
    """
    counted = (student < classes) & (teacher < classes)
    return ((student == teacher) & counted).sum() / counted.sum().clamp(min=1)


def class_shares(labels: Tensor, classes: int) -> Tensor:
    """Share of every class among the labels.

    Args:
        labels: integer train ids of any shape, IGNORE_INDEX where one does not count.
        classes: K.

    Returns:
        `(K,)` float32 that sums to 1; all 0 where no label counts.

    >>> class_shares(torch.tensor([[0, 0], [2, 255]]), classes=3).tolist()
    [0.6666666865348816, 0.0, 0.3333333432674408]
    >>> class_shares(torch.tensor([0, 255]), classes=300)[255].item()
    0.5
    """
    counts = class_counts(labels, classes)
    return counts / counts.sum().clamp(min=1)


def class_counts(labels: Tensor, classes: int) -> Tensor:
    """How often every class occurs, `(K,)` int64; arguments as of `class_shares`."""
    # One place more takes what is ignored: choosing the others by a mask would have the host wait for their number.
    # Of images, whose classes may be more than 255, IGNORE_INDEX is a class like any other.
    places = labels.where(labels < classes, classes).flatten().long()
    counts = torch.zeros(classes + 1, dtype=torch.int64, device=labels.device)
    return counts.index_add_(0, places, torch.ones_like(places))[:classes]


def _per_image(flags: Tensor) -> Tensor:
    """How many of `(B, ...)` bool are true in each image, in a shape that spreads over them: `(B, 1, ...)`."""
    return flags.reshape(len(flags), -1).sum(dim=1).view(-1, *[1] * (flags.ndim - 1))
