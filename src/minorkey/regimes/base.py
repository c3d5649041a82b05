"""What a regime is: the losses of a step, and what it keeps beside the network that trains."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from minorkey.data.sample import Batch
from minorkey.regimes.teachers import Teacher
from minorkey.tasks.base import Task
from minorkey.tasks.counts import shared


class Regime(Protocol):
    """How a training uses its data."""

    signals: dict[str, Tensor]  # of the last batch, without a graph: scalars, or (K,) by class

    @property
    def task(self) -> Task:
        """What is learnt."""

    @property
    def teacher(self) -> Teacher | None:
        """Who labels the target."""

    def prepare(self, accelerator: Accelerator, model: nn.Module, done: int = 0) -> None:
        """Take over the prepared model, after `done` steps of an earlier run, and follow it to its device."""

    def modules(self) -> dict[str, nn.Module]:
        """What trains beside the network, by name."""

    def param_groups(self) -> list[dict[str, Any]]:
        """Parameter groups of `modules()`; a group without `initial_lr` keeps its rate."""

    @property
    def passes(self) -> int:
        """Passes of the network that the next batch trains it by: as many groups of `losses`, the first ones."""

    def losses(self, batch: Any) -> Iterator[dict[str, Tensor]]:
        """Yield the named losses of a batch; the loop backpropagates each group before asking for the next."""

    def after_step(self, step: int) -> None:
        """Do what follows optimizer step `step`, 1 for the first."""

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed run needs."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state_dict()`."""


def total(terms: dict[str, Tensor]) -> Tensor:
    """The sum of the terms of a loss."""
    return torch.stack(list(terms.values())).sum()


def named(name: str, terms: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """The terms of the task's loss on a labelled batch as parts of `name`, each counted by its share.

    The main one is `name` itself, beside it are such as `source_auxiliary`.
    """
    names = {key: name if key == "segmentation" else f"{name}_{key}" for key in terms}
    return {names[key]: term for key, term in shared(terms, batch).items()}
