"""Train on labelled source images: the regime of domain generalization."""

from collections.abc import Iterator

from torch import Tensor, nn

from minorkey.data.sample import Batch
from minorkey.tasks.segmentation import Segmentation


class Supervised:
    """One loss per batch, the task's own.

    Args:
        task: says what the loss is.
        model: what trains.
        steps: length of the training.
        done: steps that an earlier run has taken.
    """

    def __init__(self, task: Segmentation, model: nn.Module, steps: int, done: int = 0) -> None:
        self.task = task
        self.model = model
        self.steps = steps
        self.after_step(done)

    def losses(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """Yield the named losses of a batch; the loop backpropagates each group before asking for the next."""
        yield self.task.loss(self.model, batch)

    def after_step(self, step: int) -> None:
        """Tell the model how far it is; there is no teacher to update."""
        self.task.set_progress(self.model, step / self.steps)

    def state_dict(self) -> dict[str, Tensor]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Accept the empty state."""
        if state:
            raise ValueError(f"the supervised regime has no state, got {sorted(state)}")
