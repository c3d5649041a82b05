"""What a run measures of itself between two log lines."""

import time

import torch
from torch import Tensor


class Meter:
    """Sums of losses since the last log line, kept on the device so that no step waits for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.restart()
        self._bad = torch.full((), -1, dtype=torch.int64, device=device)

    def restart(self) -> None:
        """Forget everything; done after each log line."""
        self.sums: dict[str, Tensor] = {}
        self.steps: set[int] = set()
        self.images = 0
        self.began = time.monotonic()
        self.restart_clock()

    def restart_clock(self) -> None:
        """Start counting seconds anew."""
        self.counted = time.monotonic()

    def add(self, step: int, losses: dict[str, Tensor], total: Tensor, share: float) -> None:
        """Take in the losses of a batch at a 0-based step, each counted with its `share` of the step."""
        self.steps.add(step)
        for name, value in {"loss": total, **(losses if len(losses) > 1 else {})}.items():
            self.sums[name] = self.sums.get(name, torch.zeros((), device=self.device)) + value.detach() * share
        fresh = (self._bad < 0) & ~torch.isfinite(total.detach())
        self._bad = torch.where(fresh, step, self._bad)

    def means(self) -> dict[str, float]:
        """Mean of every loss over the steps since the restart."""
        return {name: round(float(value) / len(self.steps), 6) for name, value in self.sums.items()}

    def rate(self) -> float:
        """Images per second since the restart."""
        return self.images / max(time.monotonic() - self.began, 1e-9)

    def elapsed(self) -> float:
        """Seconds since the clock was started."""
        return time.monotonic() - self.counted

    def first_bad_step(self) -> int | None:
        """The 0-based step whose loss was the first that is not finite; None while all are."""
        bad = int(self._bad)
        return None if bad < 0 else bad
