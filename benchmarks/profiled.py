"""What the device did in some steps, as torch's profiler saw it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import DeviceType

WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
"""Calls of CUDA's runtime in which the process stands until the device has got there. Torch's copies from and to memory
that is not pinned are a `cudaMemcpyAsync` and one of these, and so are `.item()`, `nonzero` and an index by a mask."""

CPU_WAITS = ("aten::_local_scalar_dense", "aten::nonzero")
"""What would wait if the same program ran on a GPU, copies left out."""


@dataclass(frozen=True)
class Work:
    """Of the profiled steps together.

    On a GPU: kernels and copies, the union of their times, and calls of its runtime that wait (`WAITS`). On a CPU, so
    that a program can be tried there: operations that torch dispatches, outermost ones, and those of `CPU_WAITS`.
    """

    count: int
    seconds: float
    waits: int


def work_of(profiler: Any, device: torch.device) -> Work:
    """What a `torch.profiler.profile` of the device saw, its last `synchronize` left out."""
    events = profiler.events()
    if device.type == "cuda":
        done = [e for e in events if e.device_type == DeviceType.CUDA and not e.is_user_annotation]
        waits = sum(event.name in WAITS for event in events) - 1
    else:
        done = [e for e in events if e.name.startswith("aten::") and not _within_operation(e)]
        waits = sum(event.name in CPU_WAITS for event in events)
    return Work(len(done), union([(e.time_range.start, e.time_range.end) for e in done]) / 1e6, max(0, waits))


def union(spans: list[tuple[float, float]]) -> float:
    """Length of what the spans cover together: what overlaps counts once.

    >>> union([(0, 2), (1, 3), (5, 6)])
    4
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


def _within_operation(event: Any) -> bool:
    parent = event.cpu_parent
    return parent is not None and (parent.name.startswith("aten::") or _within_operation(parent))
