"""What the device did in some steps, as torch's profiler saw it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import DeviceType

WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy")
"""Calls of CUDA's runtime in which the process stands until the device has got there. A copy of torch's from or to
memory that is not pinned is a `cudaMemcpyAsync` and the first of these, and so are `.item()`, `nonzero` and an index by
a mask. Those for the whole device are not among them: a profiler makes some itself, and steps make none."""

READS = ("aten::_local_scalar_dense", "aten::nonzero")
"""What reads a number from a tensor: it would wait where a GPU has it. waits.py tells which those are."""


@dataclass(frozen=True)
class Work:
    """Of the profiled steps together.

    On a GPU: kernels and copies, the union of their times, and calls of its runtime that wait (`WAITS`). On a CPU, so
    that a program can be tried there: operations that torch dispatches, outermost ones, and those of `READS`.
    """

    count: int
    seconds: float
    waits: int


def work_of(profiler: Any, device: torch.device) -> Work:
    """What a `torch.profiler.profile` that has ended saw of the device."""
    # Not `profiler.events()`, which takes seconds for the tens of thousands that a step has.
    events = profiler.profiler.kineto_results.events()
    if device.type == "cuda":
        done = [event for event in events if event.device_type() == DeviceType.CUDA and not event.is_user_annotation()]
        waits = sum(event.name() in WAITS for event in events)
    else:
        done = _outermost(event for event in events if event.name().startswith("aten::"))
        waits = sum(event.name() in READS for event in events)
    spans = [(event.start_ns(), event.start_ns() + event.duration_ns()) for event in done]
    return Work(len(done), union(spans) / 1e9, waits)


def _outermost(operations: Iterable[Any]) -> list[Any]:
    """Those that no other one of the same thread contains."""
    found, reached = [], dict[int, int]()
    for event in sorted(operations, key=lambda event: (event.start_ns(), -event.duration_ns())):
        end, thread = event.start_ns() + event.duration_ns(), event.start_thread_id()
        if end > reached.get(thread, -1):
            found.append(event)
            reached[thread] = end
    return found


def union(spans: list[tuple[float, float]]) -> float:
    """Length of what the spans cover together: what overlaps counts once.

    >>> union([(0, 2), (1, 3), (5, 6)])
    4.0
    """
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
