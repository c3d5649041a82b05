"""Class-balanced pseudo-labels: a teacher that is unsure of a class does not lose it to those that it is sure of.

Of two classes that are often confused, plain pseudo-labels take the one that the source model knows better; the student
learns that, becomes its own teacher, and the other class vanishes. CBST (Zou et al., arXiv 1810.07911) divides the
probability of each class by a measure of how confident the model is where it says that class, there a quantile of all
target images before a round, here a running mean.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from minorkey.processes import process_count

MOMENTUM = 0.9
"""Share of the running means that a batch keeps."""


class ClassBalance(nn.Module):
    """How confident the teacher is where it says a class: running means over batches and processes.

    Args:
        classes: K.
    """

    confidence: Tensor  # (K,) in (0, 1]; 1 for a class that was never said

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("confidence", torch.ones(classes))

    @torch.no_grad()
    def forward(self, probabilities: Tensor, filled: Tensor) -> Tensor:
        """Take a batch in and balance it.

        Args:
            probabilities: of the classes, `(B, K, H, W)`.
            filled: `(B, H, W)` bool, false where there is no image.

        Returns:
            The probabilities over the confidence of each class, made to sum up to 1 again.
        """
        self._take_in(probabilities, filled)
        return balanced(probabilities, self.confidence)

    def _take_in(self, probabilities: Tensor, filled: Tensor) -> None:
        labels = balanced(probabilities, self.confidence).argmax(dim=1)
        said = nn.functional.one_hot(labels, len(self.confidence)).movedim(-1, 1) * filled[:, None]
        sums = torch.stack([(probabilities * said).sum(dim=(0, 2, 3)), said.sum(dim=(0, 2, 3)).float()])
        if process_count() > 1:
            dist.all_reduce(sums)
        mean = sums[0] / sums[1].clamp(min=1)
        momentum = torch.where(self.confidence < 1, MOMENTUM, 0.0)  # the first time counts in full
        moved = momentum * self.confidence + (1 - momentum) * mean
        self.confidence.copy_(torch.where(sums[1] > 0, moved, self.confidence))


def balanced(probabilities: Tensor, confidence: Tensor) -> Tensor:
    """Probabilities `(B, K, H, W)` over the confidence `(K,)` of their class, made to sum up to 1 again.

    >>> balanced(torch.tensor([0.75, 0.25]).view(1, 2, 1, 1), torch.tensor([0.75, 0.25])).flatten().tolist()
    [0.5, 0.5]
    """
    ratios = probabilities / confidence[:, None, None]
    return ratios / ratios.sum(dim=1, keepdim=True)
