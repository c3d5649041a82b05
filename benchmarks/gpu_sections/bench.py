"""What cases share: the device, the time that is left, a clean start, and steps under a clock."""

import gc
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from accelerate.state import AcceleratorState
from profiled import synchronize, work_of
from torch import nn
from torch.profiler import ProfilerActivity, profile

from gpu_sections.report import BUSY, KERNELS, MEMORY, STEP, WAITS, Figures
from minorkey.system.progress import memory_mb

MB = 2**20
WARM_UP, SPANS, SPAN_SECONDS, PROFILED = 4, 3, 0.8, 2


class OutOfTime(Exception):
    """The deadline of the case, of its section or of the whole has passed."""


@dataclass
class Bench:
    """Where and for how long cases run."""

    small: bool
    folder: Path  # for files, shared by all cases
    device: torch.device = field(default_factory=lambda: torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    until: float = 0.0  # by time.time()
    held: float = 0.0  # MB on the device before the case
    profiler: str = "not tried"  # or "works", or why it does not

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.until - time.time()

    def check(self) -> None:
        """Raise `OutOfTime` where no time is left; called between steps."""
        if self.left() <= 0:
            raise OutOfTime

    @contextmanager
    def fresh(self) -> Iterator[None]:
        """Nothing of an earlier case: no memory, no accelerator, no switch of torch."""
        switches = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
        self._forget()
        torch.manual_seed(0)
        self.held = torch.cuda.memory_allocated() / MB if self.on_gpu else 0.0
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(switches[0])
            torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = switches[1:]

    def _forget(self) -> None:
        AcceleratorState._reset_state(reset_partial_state=True)
        if "torch._dynamo" in sys.modules:
            torch._dynamo.reset()  # else what earlier cases compiled counts towards its limit
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()

    def peak_mb(self) -> float:
        """Peak memory of the case on a GPU; on a CPU what the process holds now."""
        return memory_mb(self.device) - self.held

    def alive(self) -> bool:
        """Whether the device still answers: after some errors it does not, until the process ends."""
        try:
            synchronize(self.device)
        except RuntimeError:
            return False
        return True

    def steps(self, seen: Figures, images: int) -> Iterator[None]:
        """One `yield` for each step that is to be taken; the figures are in `seen` once it ends.

        Some steps warm up. Then spans of about a second, each from an idle device to an idle device: the step is the
        median of their means. Then a few under torch's profiler (see `profiled.Work`), whose time does not count, and
        on a GPU one in which torch itself says where it waits.

        Args:
            seen: filled.
            images: of a step.
        """
        self._try_profiler()
        yield from self._some(1 if self.small else WARM_UP)
        synchronize(self.device)
        began = time.perf_counter()
        yield from self._some(1 if self.small else 2)
        synchronize(self.device)
        taken = (time.perf_counter() - began) / (1 if self.small else 2)
        count = 1 if self.small else max(2, min(30, round(SPAN_SECONDS / taken)))
        spans = []
        for _ in range(1 if self.small else SPANS):
            synchronize(self.device)
            began = time.perf_counter()
            yield from self._some(count)
            synchronize(self.device)
            spans.append((time.perf_counter() - began) / count)
        step = median(spans)
        seen |= {
            STEP: 1e3 * step,
            "least": 1e3 * min(spans),
            "most": 1e3 * max(spans),
            "images/s": images / step,
            MEMORY: self.peak_mb(),
        }
        if self.profiler == "works":
            yield from self._profiled(seen, step)
        else:
            seen["profiler"] = self.profiler
        if self.on_gpu:
            yield from self._told(seen)

    def _some(self, count: int) -> Iterator[None]:
        for _ in range(count):
            self.check()
            yield

    def _try_profiler(self) -> None:
        """Before the first step: launches may be slower once it was there, and are to be so in all cases or in none."""
        if self.profiler != "not tried":
            return
        try:
            with self._profiler() as profiler:
                torch.zeros(1, device=self.device).add_(1)
                synchronize(self.device)
            self.profiler = "works" if work_of(profiler, self.device).count else "failed: it sees no kernels"
        except RuntimeError as error:
            self.profiler = f"failed: {error}"[:100]

    def _profiler(self) -> profile:
        return profile(activities=[ProfilerActivity.CUDA if self.on_gpu else ProfilerActivity.CPU])

    def _profiled(self, seen: Figures, step: float) -> Iterator[None]:
        steps = 1 if self.small else PROFILED
        with self._profiler() as profiler:
            yield from self._some(steps)
            synchronize(self.device)
        work = work_of(profiler, self.device)
        names = (KERNELS, BUSY, WAITS) if self.on_gpu else ("operations", "in operations", "numbers read")
        seen |= dict(zip(names, (work.count / steps, work.seconds / steps / step, work.waits / steps), strict=True))

    def _told(self, seen: Figures) -> Iterator[None]:
        """The lines of Python that waited in one step, the most frequent first."""
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield from self._some(1)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        places = Counter(f"{Path(w.filename).name}:{w.lineno}" for w in said if "synchroniz" in str(w.message))
        seen["waits at"] = ", ".join(f"{place} x{count}" for place, count in places.most_common(8))


def drawn_on(device: torch.device, build: Callable[[], nn.Module]) -> nn.Module:
    """A network that is built on the device, where its random numbers take no time, in the memory of the processor."""
    try:
        with torch.device(device):
            return build().cpu()
    except (RuntimeError, TypeError):  # not every network can be: slower, then
        traceback.print_exc()
        return build()


def take(bench: Bench, step: Callable[[], Any], images: int) -> Figures:
    """The figures of a step that is a call."""
    seen: Figures = {}
    for _ in bench.steps(seen, images):
        step()
    return seen


def repeated(bench: Bench, call: Callable[[], Any]) -> float:
    """Median seconds of a call, over about a second of calls, after two that do not count."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - began < SPAN_SECONDS and len(times) < 200):
        bench.check()
        synchronize(bench.device)
        start = time.perf_counter()
        call()
        synchronize(bench.device)
        times.append(time.perf_counter() - start)
        if bench.small:
            return times[0]
    return median(times[2:])
