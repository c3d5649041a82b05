"""Exponential moving average of what trains (SoMA's recipes: momentum 2e-4, from a given step on)."""

from collections.abc import Mapping

import torch
from torch import Tensor


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
        for name, value in tensors.items():
            if name not in self.average or not value.is_floating_point():
                self.average[name] = value.detach().clone()
            else:
                self.average[name].lerp_(value.detach(), self.momentum)
