"""What a run measures of itself between two log lines."""

import time
from collections import Counter
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from minorkey.system.processes import gathered, gathered_objects


class Meter:
    """Sums of losses since the last log line, kept on the device so that no step waits for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.restart()
        self._bad = torch.full((), -1, dtype=torch.int64, device=device)

    def restart(self) -> None:
        """Forget everything; done after each log line."""
        self.sums: dict[str, Tensor] = {}
        self.signals: dict[str, Tensor] = {}
        self.noted: Counter[str] = Counter()
        self.steps: set[int] = set()
        self.images = 0
        self.began = time.monotonic()
        self.restart_clock()

    def restart_clock(self) -> None:
        """Start counting seconds anew."""
        self.counted = time.monotonic()

    def leave_out(self, seconds: float) -> None:
        """Count so many of the last seconds neither as training nor in its rate."""
        self.began += seconds
        self.counted += seconds

    def add(self, step: int, losses: dict[str, Tensor], total: Tensor) -> None:
        """Take in what a batch adds to the losses of a 0-based step."""
        self.steps.add(step)
        for name, value in {"loss": total, **losses}.items():
            self.sums[name] = self.sums.get(name, torch.zeros((), device=self.device)) + value.detach()
        fresh = (self._bad < 0) & ~torch.isfinite(total.detach())
        self._bad = torch.where(fresh, step, self._bad)

    def note(self, signals: dict[str, Tensor]) -> None:
        """Take in a batch's signals, scalars or vectors; a batch may lack some."""
        self.noted.update(signals.keys())
        for name, value in signals.items():
            self.signals[name] = self.signals.get(name, torch.zeros((), device=self.device)) + value

    def signal_means(self) -> dict[str, float | list[float]]:
        """Mean of every signal over the batches that had it since the restart, and over the processes that had it."""
        mine = {name: (value / self.noted[name]).cpu().double().tolist() for name, value in self.signals.items()}
        theirs = gathered_objects(mine)
        names = dict.fromkeys(chain.from_iterable(theirs))
        return {n: np.mean([each[n] for each in theirs if n in each], axis=0).round(6).tolist() for n in names}

    def means(self) -> dict[str, float]:
        """Mean of every loss over the steps since the restart, and over the processes; of a single one, as `loss`.

        A loss that some process, or all of them for some steps, had not was 0 there.
        """
        names = list(dict.fromkeys(chain.from_iterable(gathered_objects(list(self.sums)))))
        shown = names if len(names) > 2 else ["loss"]
        sums = gathered([float(self.sums.get(name, 0.0)) for name in shown]).mean(axis=0)
        return {name: round(value / len(self.steps), 6) for name, value in zip(shown, sums.tolist(), strict=True)}

    def rate(self) -> float:
        """Images per second since the restart."""
        return self.images / max(time.monotonic() - self.began, 1e-9)

    def elapsed(self) -> float:
        """Seconds since the clock was started."""
        return time.monotonic() - self.counted

    def first_bad_step(self) -> int | None:
        """The 0-based step whose loss was the first that is not finite in any process; None while all are."""
        steps = gathered([float(self._bad)])
        return int(steps[steps >= 0].min()) if (steps >= 0).any() else None
