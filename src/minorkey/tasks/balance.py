"""Balanced pseudo-labels: classes that the teacher is unsure of do not vanish.

Of two classes that are often confused, plain pseudo-labels take the one that the source model knows better; the student
learns that, is or becomes its own teacher, and the other class vanishes. Both balances multiply the probabilities of
each class by a factor, and keep the running means that it comes from: over batches, or over a whole data set where a
fresh one takes in the sums of all its images at once.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from minorkey.system.reduction import sum_over_processes
from minorkey.tasks.pseudo_labels import class_counts

MOMENTUM = 0.9
"""Share of the running means that a batch keeps."""

LEAST_SHARE = 1e-3
"""Added to shares, so that the factor of a class that hardly occurs stays bounded."""


class Balance(nn.Module, ABC):
    """Factors of the classes, by running means.

    Args:
        classes: K.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()

    @torch.no_grad()
    def factors(self, probabilities: Tensor, filled: Tensor, source_labels: Tensor) -> Tensor:
        """Take a batch in, that of all processes.

        Args:
            probabilities: of the teacher, `(B, K, H, W)`, or of whole images `(B, K)`.
            filled: `(B, H, W)` or `(B,)` bool, false where there is no image.
            source_labels: train ids in the shape of `filled`.

        Returns:
            What the probability of each class is multiplied by, `(K,)`.
        """
        sums = self.sums(probabilities, filled, class_counts(source_labels, probabilities.shape[1]))
        return self.taken(sum_over_processes(sums))

    @abstractmethod
    def sums(self, probabilities: Tensor, filled: Tensor, source_counts: Tensor) -> Tensor:
        """What a batch adds to the means, `(2, K)`.

        Args:
            probabilities: as of `factors`.
            filled: as of `factors`.
            source_counts: `(K,)`, how often the source shows each class.
        """

    @abstractmethod
    def taken(self, sums: Tensor) -> Tensor:
        """The factors `(K,)` after the sums of a batch, or of all images, were taken in."""


class ConfidenceBalance(Balance):
    """One over how confident the teacher is where it predicts a class, as in CBST (Zou et al., arXiv 1810.07911).

    There a quantile over all target images before a round, here a mean.
    """

    confidence: Tensor  # (K,) in (0, 1]; 1 for a class that was never predicted

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.register_buffer("confidence", torch.ones(classes))

    def sums(self, probabilities: Tensor, filled: Tensor, source_counts: Tensor) -> Tensor:
        """The probabilities of the classes that are predicted, and how often each is."""
        labels = balanced(probabilities, 1 / self.confidence).argmax(dim=1)
        predicted = nn.functional.one_hot(labels, len(self.confidence)).movedim(-1, 1) * filled[:, None]
        return torch.stack([_by_class(probabilities * predicted), _by_class(predicted).float()])

    def taken(self, sums: Tensor) -> Tensor:
        """One over the confidence of each class."""
        total, counts = sums
        momentum = torch.where(self.confidence < 1, MOMENTUM, 0.0)  # the first time counts in full
        moved = momentum * self.confidence + (1 - momentum) * total / counts.clamp(min=1)
        self.confidence.copy_(torch.where(counts > 0, moved, self.confidence))
        return 1 / self.confidence


class PriorBalance(Balance):
    """So that classes are as frequent in the target as among the source labels that are trained on.

    Distribution alignment (ReMixMatch, arXiv 1911.09785), there with the marginal of labels that share a domain. It is
    right where both domains show the same kind of scene, another weather or light.
    """

    target: Tensor  # (K,) mean probabilities on the target
    source: Tensor  # (K,) share of the classes among the source labels; all 0 before the first batch

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.register_buffer("target", torch.zeros(classes))
        self.register_buffer("source", torch.zeros(classes))

    def sums(self, probabilities: Tensor, filled: Tensor, source_counts: Tensor) -> Tensor:
        """The probabilities of each class, and how often the source shows it."""
        return torch.stack([_by_class(probabilities * filled[:, None]), source_counts.to(probabilities)])

    def taken(self, sums: Tensor) -> Tensor:
        """The share of each class in the source over its mean probability on the target."""
        for running, seen in zip((self.target, self.source), sums, strict=True):
            moved = MOMENTUM * running + (1 - MOMENTUM) * shares(seen)
            running.copy_(torch.where(running.any(), moved, shares(seen)))  # the first time counts in full
        return (self.source + LEAST_SHARE) / (self.target + LEAST_SHARE)


BALANCES: dict[str, type[Balance]] = {
    "confidence": ConfidenceBalance,
    "prior": PriorBalance,
}


def balanced(probabilities: Tensor, factors: Tensor) -> Tensor:
    """Probabilities `(B, K, ...)` times the factor `(K,)` of their class, made to sum up to 1 again.

    >>> balanced(torch.tensor([0.75, 0.25]).view(1, 2, 1, 1), torch.tensor([1.0, 3.0])).flatten().tolist()
    [0.5, 0.5]
    """
    weighted = probabilities * factors.view(-1, *[1] * (probabilities.ndim - 2))
    return weighted / weighted.sum(dim=1, keepdim=True)


def shares(sums: Tensor) -> Tensor:
    """Each of `(K,)` over their sum; 0 where that is 0."""
    return sums / sums.sum().clamp(min=1)


def _by_class(values: Tensor) -> Tensor:
    """The sums of `(B, K, ...)` over all but the classes, `(K,)`."""
    return values.sum(dim=[dim for dim in range(values.ndim) if dim != 1])
