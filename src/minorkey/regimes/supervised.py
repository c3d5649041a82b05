"""Train on labelled source images: the regime of domain generalization."""

from collections.abc import Iterator

from torch import Tensor, nn

from minorkey.data.sample import Batch
from minorkey.tasks.segmentation import Segmentation


class Supervised:
    """One loss per batch, the task's own."""

    def __init__(self, task: Segmentation, model: nn.Module) -> None:
        self.task = task
        self.model = model

    def losses(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """Yield the named losses of a batch; the loop backpropagates each group before asking for the next."""
        yield self.task.loss(self.model, batch)

    def after_step(self, step: int) -> None:
        """Nothing to update: there is no teacher."""

    def state_dict(self) -> dict[str, Tensor]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Accept the empty state."""
        if state:
            raise ValueError(f"the supervised regime has no state, got {sorted(state)}")
