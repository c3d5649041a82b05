"""Steps whose gradients pass through float16, which holds nothing above 65504 and little below 6e-8."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

LEAST = 2.0**-10
"""Scale below which no smaller one is tried: what overflows then has overflowed in the forward pass."""


class LossScale:
    """Multiplies the loss, so that small gradients survive float16, and divides the gradients again before a step.

    Where a gradient overflows, no step is taken and the scale is halved; after 2000 steps without that it is doubled
    (arXiv 1710.03740, section 3.2; torch.amp.GradScaler).

    Args:
        scaler: None leaves every loss as it is, and takes every step.
    """

    def __init__(self, scaler: GradScaler | None = None) -> None:
        self.scaler = scaler or GradScaler(enabled=False)
        self.retried = 0  # steps not taken since `note` was asked for

    @property
    def enabled(self) -> bool:
        """Whether losses are scaled, and steps may not be taken."""
        return self.scaler.is_enabled()

    def backward(self, loss: Tensor) -> None:
        """Add the scaled gradients of a loss."""
        self.scaler.scale(loss).backward()

    def clip(self, optimizer: Optimizer, parameters: Iterable[nn.Parameter], norm: float) -> None:
        """Clip the gradients to a norm that they have without the scale."""
        self.scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(parameters, norm)

    def step(self, optimizer: Optimizer) -> bool:
        """Step, unless a gradient overflowed; whether it was done."""
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        taken = self.scaler.get_scale() >= before
        self.retried += not taken
        return taken

    @property
    def exhausted(self) -> bool:
        """Whether no smaller scale is worth trying."""
        return self.scaler.get_scale() < LEAST

    def note(self) -> dict[str, float]:
        """The scale and the steps that were not taken since the last call, for the log; nothing where none is used."""
        retried, self.retried = self.retried, 0
        return {"loss_scale": self.scaler.get_scale(), "retried": retried} if self.scaler.is_enabled() else {}

    def state_dict(self) -> dict[str, Any]:
        """Plain values; none where no scale is used."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict()`; from none, as of a run in another precision, with the scale of a new run."""
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)
