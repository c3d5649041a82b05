"""Model selection during training: the weights that did best on the images they were judged on.

On validation images of the source domains this is an honest choice; on the unseen domains it is the oracle of
DomainBed (arXiv 2007.01434), an upper bound that no one could deploy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class BestWeights:
    """The trained tensors of the step that was judged best, on the CPU; of equal ones, the earliest."""

    score: float | None = None  # mean over domains of mIoU; None: nothing was judged yet
    step: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, step: int, score: float, tensors: Mapping[str, Tensor]) -> bool:
        """Take these over if they are better; say whether they are."""
        if self.score is not None and score <= self.score:
            return False
        self.score, self.step = score, step
        self.tensors = {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
        return True
