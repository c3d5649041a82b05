"""What is shown while a run works: a live bar on a terminal, quiet plain lines elsewhere."""

import os
import time

import psutil
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from minorkey.errors import printable

PLAIN_SECONDS = 10.0
"""Least time between two plain lines."""


class Reporter:
    """Shows the progress of one piece of work of `total` steps; None: nobody knows how many."""

    def __init__(self, console: Console, label: str, total: int | None, done: int = 0, unit: str = "step") -> None:
        self.console = console
        self.label = label
        self.total = total
        self.unit = unit
        self.started_at = self.last_line = time.monotonic()
        self.started_from = done
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "Reporter":
        if self.console.is_terminal:
            columns = ("{task.description}", BarColumn(bar_width=24), "{task.completed}/{task.total}")
            self._bar = Progress(
                *columns, TextColumn("{task.fields[detail]}", markup=False), TimeRemainingColumn(), console=self.console
            )
            self._task = self._bar.add_task(self.label, total=self.total, completed=self.started_from, detail="")
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, detail: str = "") -> None:
        """Say that `done` of the total are finished; `detail` stands beside the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, detail=printable(detail))
            return
        now = time.monotonic()
        if now - self.last_line >= PLAIN_SECONDS or done == self.total:
            self.last_line = now
            parts = [f"{self.label}: {self.unit} {done}", detail]
            if self.total is not None:
                left = (now - self.started_at) / max(1, done - self.started_from) * max(0, self.total - done)
                parts = [f"{parts[0]}/{self.total}", detail, f"{_clock(left)} left"]
            self.console.print("  ".join(part for part in parts if part), highlight=False, soft_wrap=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def memory_mb(device: torch.device) -> float:
    """Memory in use, MB: the peak on a GPU, the resident set of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return psutil.Process(os.getpid()).memory_info().rss / 2**20
