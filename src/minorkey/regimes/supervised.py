"""Train on labelled source images: the regime of domain generalization."""

from collections.abc import Iterator

from torch import Tensor

from minorkey.data.sample import Batch
from minorkey.regimes.base import Regime
from minorkey.tasks.counts import shared


class Supervised(Regime):
    """One loss per batch, the task's own."""

    compiles = True

    def losses(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """Yield the named losses of a batch."""
        yield shared(self.task.loss(self.model, batch), batch)
