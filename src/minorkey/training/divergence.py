"""A training that diverges ends with the batch named, and saves nothing of it.

All processes call these at one time, and all of them raise, for one who trains at several rates goes on with the next.
"""

import torch

from minorkey.errors import TrainingError
from minorkey.system.processes import gathered
from minorkey.training.fit import Fit
from minorkey.training.meter import Meter
from minorkey.training.sharding import whole
from minorkey.training.state import State


class Diverged(TrainingError):
    """A loss or a weight is no longer finite."""


def check_losses(fit: Fit, meter: Meter) -> None:
    """Raise `TrainingError` if a loss was not finite."""
    if (bad := meter.first_bad_step()) is not None:
        raise _diverged(fit, "loss is not finite", bad)


def check_weights(fit: Fit, state: State) -> None:
    """Raise `TrainingError` if a weight is not finite, which a finite loss may have given too."""
    finite = all(torch.isfinite(value).all() for value in whole(fit.trained).values())
    if not gathered([finite]).all():
        raise _diverged(fit, "weights are not finite", state.step - 1)


def check_scale(fit: Fit, state: State) -> None:
    """Raise `TrainingError` if no smaller scale of the loss is worth trying."""
    if not state.scale.exhausted:
        return
    advice = "Set training.precision to fp32, or to bf16 on a GPU that has it"
    raise _diverged(fit, "gradients overflow float16 at every scale", state.step, advice)


def _diverged(fit: Fit, what: str, step: int, advice: str = "Lower training.lr or set training.clip_norm") -> Diverged:
    """The error for a 0-based step, with its batch."""
    first = step * fit.options.accumulate
    keys = [key for micro in range(first, first + fit.options.accumulate) for key in fit.loader.keys(micro)]
    return Diverged(
        f"the {what} at step {step + 1}, on the batch {', '.join(keys)}; the last good checkpoint "
        f"in '{fit.folder.checkpoints}' is kept. {advice}"
    )
