"""What heads of logits per pixel learn by: cross-entropy, focal and Dice terms over the pixels that are labelled.

Sources: focal term of RetinaNet (arXiv 1708.02002, eq. 4); soft Dice of V-Net (arXiv 1606.04797), over all pixels of a
batch and the classes that its labels show.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PixelLoss(nn.Module):
    """A sum of terms.

    Args:
        terms: of `LossTerm`, each with weight 1.
        class_weights: one for each class; None: all 1.
        gamma: exponent of the focal term.
    """

    class_weights: Tensor | None

    def __init__(
        self, terms: Sequence[str] = ("cross_entropy",), class_weights: Sequence[float] | None = None, gamma: float = 2
    ) -> None:
        super().__init__()
        self.terms, self.gamma = tuple(dict.fromkeys(terms)), gamma
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)  # it is of the configuration, not learnt

    def forward(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
        """The terms by name; each is 0 where nothing is labelled. The host does not wait for the device.

        Args:
            logits: `(B, K, H, W)`.
            labels: `(B, H, W)` int64 train ids, or 255 where a pixel does not count.
            weights: of the pixels, `(B, H, W)`, 0 ... 1; None: all 1.
        """
        return {term: self._term(term, logits, labels, weights) for term in self.terms}

    def _term(self, term: str, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        if term == "dice":
            return pixel_dice(logits, labels, weights, class_weights=self.class_weights)
        gamma = self.gamma if term == "focal" else 0.0
        return pixel_cross_entropy(logits, labels, weights, class_weights=self.class_weights, gamma=gamma)


def pixel_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    gamma: float = 0.0,
) -> Tensor:
    """Cross-entropy summed up with weights, over the number of labelled pixels; 0, without gradient, where none is.

    With p the probability of the class y of a pixel: -w_y (1 - p)^gamma log p.

    Args:
        logits: `(B, K, H, W)`.
        labels: `(B, H, W)` int64 train ids, or `ignore_index`.
        weights: `(B, H, W)`; None: all 1.
        ignore_index: label of the pixels that do not count.
        class_weights: `(K,)`, the w; None: all 1. A sum over pixels is divided by their number and not by that of their
            weights, so that the loss of a step does not depend on how its images are shared out among batches.
        gamma: above 0, pixels that are right already count less.

    >>> import torch
    >>> logits = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).requires_grad_()
    >>> [round(pixel_cross_entropy(logits, torch.full((1, 1, 1), label)).item(), 3) for label in (0, 1, 255)]
    [1.313, 0.313, 0.0]
    """
    labelled = labels != ignore_index
    if weights is None and class_weights is None and not gamma:
        mean = F.cross_entropy(logits, labels, ignore_index=ignore_index)
        return mean.where(labelled.any(), 0.0)  # the mean over nothing is NaN
    losses = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="none")
    if gamma:
        losses = losses * (1 - (-losses).exp()).clamp(min=1e-7) ** gamma  # the slope of x^0.5 at 0 is infinite
    if class_weights is not None:
        losses = losses * class_weights[labels.where(labelled, 0)]
    if weights is not None:
        losses = losses * weights
    return losses.sum() / labelled.sum().clamp(min=1)


def pixel_dice(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
) -> Tensor:
    """1 less the mean, over the classes that the labels show, of 2 sum(p t) / (sum p + sum t); 0 where they show none.

    Args:
        logits: `(B, K, H, W)`, whose softmax is p; t is 1 at the pixels of a class.
        labels: `(B, H, W)` int64 train ids, or `ignore_index`.
        weights: of the pixels in all sums, `(B, H, W)`; None: all 1.
        ignore_index: label of the pixels that do not count.
        class_weights: of the classes in the mean, `(K,)`; None: all 1.

    >>> import torch
    >>> sure = torch.tensor([[9.0, -9.0], [-9.0, 9.0]]).view(1, 2, 1, 2)
    >>> [round(pixel_dice(sure, torch.tensor([[labels]])).item(), 3) for labels in ([0, 1], [0, 0], [0, 255])]
    [0.0, 0.333, 0.0]
    """
    classes = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
    truth = labels[:, None] == classes  # of an ignored pixel all false
    counted = (labels != ignore_index).float() if weights is None else (labels != ignore_index) * weights
    found = logits.float().softmax(dim=1) * counted[:, None]
    true = (truth * counted[:, None]).sum(dim=(0, 2, 3))
    dice = 2 * (found * truth).sum(dim=(0, 2, 3)) / (found.sum(dim=(0, 2, 3)) + true).clamp(min=1e-6)
    shares = (true > 0).float() if class_weights is None else (true > 0) * class_weights
    return ((1 - dice) * shares).sum() / shares.sum().clamp(min=1e-6)
