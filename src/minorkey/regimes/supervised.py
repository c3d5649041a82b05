"""Train on labelled source images: the regime of domain generalization."""

from collections.abc import Iterator
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from minorkey.data.sample import Batch
from minorkey.regimes.teachers import Teacher
from minorkey.tasks.base import Task
from minorkey.tasks.counts import shared


class Supervised:
    """One loss per batch, the task's own.

    Args:
        task: says what the loss is.
        model: what trains.
        steps: length of the training.
        done: steps that an earlier run has taken.
    """

    teacher: Teacher | None = None

    def __init__(self, task: Task, model: nn.Module, steps: int, done: int = 0) -> None:
        self.task = task
        self.model = model
        self.steps = steps
        self.signals: dict[str, Tensor] = {}
        self.after_step(done)

    def prepare(self, accelerator: Accelerator, model: nn.Module, done: int = 0) -> None:
        """Take over the prepared model, after `done` steps."""
        self.model = model
        self.after_step(done)

    def modules(self) -> dict[str, nn.Module]:
        """Nothing trains beside the network."""
        return {}

    def param_groups(self) -> list[dict[str, Any]]:
        """None."""
        return []

    passes = 1

    def losses(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """Yield the named losses of a batch."""
        yield shared(self.task.loss(self.model, batch), batch)

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
