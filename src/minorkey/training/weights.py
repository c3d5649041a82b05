"""Which weights of a training are deployed, where it is not the last ones: their average, or the best ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import neg

from torch import Tensor

from minorkey.regimes.averages import move_averages
from minorkey.training.sharding import local


class WeightEma:
    """Exponential moving average of named tensors (SoMA's recipes: momentum 0.9998, from a given step on).

    The first update copies, each later one moves the average; integer tensors (batch-norm counters) are copied.

    Args:
        momentum: share of the average that an update keeps, in [0, 1).
    """

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self.average: dict[str, Tensor] = {}

    def update(self, tensors: Mapping[str, Tensor]) -> None:
        """Take in the current values."""
        moved = {name for name, value in tensors.items() if name in self.average and value.is_floating_point()}
        self.average |= {name: value.detach().clone() for name, value in tensors.items() if name not in moved}
        averages, values = (
            {name: local(tensor) for name, tensor in each.items() if name in moved} for each in (self.average, tensors)
        )
        move_averages(averages, values, self.momentum)


@dataclass
class BestWeights:
    """The trained tensors of the step that scored best, on the CPU; of equal ones, the earliest.

    On validation images of the source domains this is an honest choice of a model; on the unseen domains it is the
    oracle of DomainBed (arXiv 2007.01434), an upper bound that no one could deploy.
    """

    score: float | None = None  # mean over domains; None: nothing was scored yet
    step: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def offer(
        self, step: int, score: float, tensors: Mapping[str, Tensor], rank: Callable[[float], float] = neg
    ) -> bool:
        """Take these over if they are better, and return whether they are; `rank` is lower for a better score."""
        if self.score is not None and rank(score) >= rank(self.score):
            return False
        self.score, self.step = score, step
        self.tensors = {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
        return True
