"""Annealing weight decay: a pure function of the step, for any loop, and for the transformers `Trainer`."""

import math
from typing import Any

from torch.optim import Optimizer
from transformers.trainer_callback import TrainerCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from minorkey.errors import ConfigError

MINIMUM = 1e-5
"""Where SoMA's recipes end."""


def annealed_weight_decay(step: int, total: int, initial: float, minimum: float = MINIMUM) -> float:
    """Annealing weight decay of SoMA (arXiv 2412.04077): a half cosine from `initial` to `minimum`.

    lambda_t = lambda_min + (lambda_0 - lambda_min) (1 + cos(pi t / T)) / 2, and lambda_min after T. A group
    that starts below the minimum (norms start at 0) keeps its value.

    Args:
        step: t, the number of optimizer steps done.
        total: T, the number of optimizer steps of the whole training, at least 1.
        initial: lambda_0.
        minimum: lambda_min.
    """
    if initial <= minimum:
        return initial
    progress = min(step / total, 1.0)
    return minimum + (initial - minimum) * (1 + math.cos(math.pi * progress)) / 2


class AnnealingWeightDecay:
    """Anneals the weight decay of an optimizer's groups, each from its own initial value.

    Used like a learning-rate scheduler of torch: `step()` after every `optimizer.step()`.

    >>> import torch
    >>> optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=0.05)
    >>> annealing = AnnealingWeightDecay(optimizer, total_steps=2)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     annealing.step()
    >>> optimizer.param_groups[0]["weight_decay"]
    1e-05

    Args:
        optimizer: any whose groups have `weight_decay`. A group's `initial_weight_decay`, which `param_groups`
            sets, is where it starts; without one, its weight decay of now is, and is noted as such.
        total_steps: optimizer steps of the whole training, at least 1.
        minimum: where the decay ends.

    Raises:
        ConfigError: there are no steps, or no weight decay to anneal.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, minimum: float = MINIMUM) -> None:
        if total_steps < 1:
            raise ConfigError(f"total_steps is {total_steps}, expected the number of optimizer steps, 1 or more")
        note_initial(optimizer, minimum)
        self.optimizer = optimizer
        self.total_steps = total_steps
        self.minimum = minimum
        self.steps_done = 0
        anneal(optimizer, 0, total_steps, minimum)

    def step(self) -> None:
        """Note one optimizer step and set the decay of the next."""
        self.steps_done += 1
        anneal(self.optimizer, self.steps_done, self.total_steps, self.minimum)

    def state_dict(self) -> dict[str, Any]:
        """All that the schedule depends on: steps done and in total, the initial value per group, the minimum."""
        return {
            "steps_done": self.steps_done,
            "total_steps": self.total_steps,
            "minimum": self.minimum,
            "initial": [_initial(group) for group in self.optimizer.param_groups],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict()` was taken, and set the decay of the next step.

        Raises:
            ConfigError: the optimizer has another number of groups.
        """
        groups = self.optimizer.param_groups
        if len(state["initial"]) != len(groups):
            raise ConfigError(
                f"the state is of an optimizer with {len(state['initial'])} groups, this one has {len(groups)}; "
                "build it over the same parameter groups"
            )
        for group, initial in zip(groups, state["initial"], strict=True):
            group["initial_weight_decay"] = initial
        self.steps_done, self.total_steps = state["steps_done"], state["total_steps"]
        self.minimum = state["minimum"]
        anneal(self.optimizer, self.steps_done, self.total_steps, self.minimum)


class AnnealingCallback(TrainerCallback):
    """Anneals the weight decay within the transformers `Trainer`, over all of its optimizer steps.

    `Trainer(..., callbacks=[AnnealingCallback()])`. It needs `weight_decay` in the `TrainingArguments`, whose
    default is 0, or an optimizer of your own over `param_groups`. The decay depends on the `Trainer`'s own step
    and the initial values in the optimizer's groups, which its checkpoints hold, so a resumed training goes on
    as if it had not stopped.

    Args:
        minimum: where the decay ends.
    """

    def __init__(self, minimum: float = MINIMUM) -> None:
        self.minimum = minimum

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note the initial values. Raises `ConfigError` where there is no weight decay to anneal."""
        note_initial(kwargs["optimizer"], self.minimum)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the decay of the optimizer step that now begins."""
        anneal(kwargs["optimizer"], state.global_step, state.max_steps, self.minimum)


def note_initial(optimizer: Optimizer, minimum: float) -> None:
    """Keep each group's weight decay of now as its `initial_weight_decay`, unless it carries one already.

    Raises:
        ConfigError: no group has a weight decay above the minimum, so nothing would ever be annealed.
    """
    groups = optimizer.param_groups
    initial = [_initial(group) for group in groups]
    if max(initial) <= minimum:
        raise ConfigError(
            f"the highest weight decay of the optimizer is {max(initial):g}, nothing to anneal to {minimum:g}; "
            "use an optimizer with weight_decay, for example 0.05"
        )
    for group, value in zip(groups, initial, strict=True):
        group["initial_weight_decay"] = value


def anneal(optimizer: Optimizer, step: int, total: int, minimum: float) -> None:
    """Set every group's weight decay, from its `initial_weight_decay`, after `step` of `total` optimizer steps."""
    for group in optimizer.param_groups:
        group["initial_weight_decay"] = _initial(group)  # it may have been added meanwhile
        group["weight_decay"] = annealed_weight_decay(step, total, group["initial_weight_decay"], minimum)


def _initial(group: dict[str, Any]) -> float:
    """Where the decay of a group starts: as it is noted, else as it is now."""
    return float(group.get("initial_weight_decay", group.get("weight_decay", 0.0)))
