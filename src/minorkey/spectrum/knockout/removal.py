"""Take singular components out of a network's weights, and put everything back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from minorkey.adapters.decompose import End, Triplets, as_matrix, singular_triplets
from minorkey.adapters.targets import Target


def without_components(weight: Tensor, k: int, which: End) -> Tensor:
    """A weight minus its `k` largest ("major") or smallest ("minor") singular components.

    Args:
        weight: `(out, in)`, or a kernel `(out, in, k, k)`, which is flattened to `(out, in k k)`.
        k: number of components, 1 ... the smaller side of the matrix; all of them leave zero.
        which: the end of the spectrum.

    Returns:
        A tensor of the shape, type and device of `weight`; the difference is taken in float64.

    Raises:
        AdapterError: `k` is out of range, or the weight is not finite.
    """
    return _subtract(weight, singular_triplets(as_matrix(weight), k, which))


def component_count(share: float, weight: Tensor) -> int:
    """How many components a share in `(0, 1]` of a weight's singular values is: at least one."""
    return max(1, round(share * min(as_matrix(weight).shape)))


class Removal:
    """Removes a share of the components of layers, each decomposed once, when it is first needed.

    Args:
        targets: the layers; the parts of a fused projection count as layers of their own.
        share: of the singular values of each weight, in `(0, 1]`.
    """

    def __init__(self, targets: Sequence[Target], share: float) -> None:
        self.targets = targets
        self.share = share
        self._triplets: dict[tuple[str, End], Triplets] = {}

    @contextmanager
    def applied(self, block: int | None, which: End) -> Iterator[None]:
        """While the context lasts, the layers of a block (None: of all) lack their components at one end.

        Afterwards every weight is what it was, bit for bit.
        """
        changed = [target for target in self.targets if block is None or target.block == block]
        # Decomposed before the first weight is touched: parts of a fused projection share their memory.
        triplets = [self._of(target, which) for target in changed]
        intact = [target.weight.detach().clone() for target in changed]
        try:
            for target, removed in zip(changed, triplets, strict=True):
                target.weight.detach().copy_(_subtract(target.weight, removed))
            yield
        finally:
            for target, weight in zip(changed, intact, strict=True):
                target.weight.detach().copy_(weight)

    def _of(self, target: Target, which: End) -> Triplets:
        key = (target.name, which)
        if key not in self._triplets:
            weight = target.weight
            self._triplets[key] = singular_triplets(as_matrix(weight), component_count(self.share, weight), which)
        return self._triplets[key]


def _subtract(weight: Tensor, triplets: Triplets) -> Tensor:
    U, S, Vh = (factor.to(weight.device, torch.float64) for factor in triplets)
    rest = as_matrix(weight.detach()).to(torch.float64) - U * S @ Vh
    return rest.reshape(weight.shape).to(weight.dtype)
