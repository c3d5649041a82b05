"""Exponential moving average of what trains (SoMA's recipes: momentum 2e-4, from a given step on)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from minorkey.training.sharding import local


class WeightEma:
    """Average of named tensors.

    The first update copies; each later one moves the average by `momentum` towards the current value.
    Integer tensors (batch-norm counters) are copied.
    """

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self.average: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor]) -> None:
        """Take in the current values."""
        moved = [name for name, value in tensors.items() if name in self.average and value.is_floating_point()]
        copied = [name for name in tensors if name not in self.average or not tensors[name].is_floating_point()]
        self.average |= {name: tensors[name].detach().clone() for name in copied}
        if moved:
            averages, values = ([local(each[name]) for name in moved] for each in (self.average, tensors))
            torch._foreach_lerp_(averages, values, self.momentum)
