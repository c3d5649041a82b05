"""How many processes read data, and how one starts."""

import os
import signal
import sys
from pathlib import Path
from typing import Literal

import torch

MOST = 16
"""Workers beside one GPU: 16 at 40 ms an image of 2 megapixels in PNG give the 400 crops/s that an H100 may ask for."""


def worker_count(asked: int | Literal["auto"], device: torch.device, batches: int, loaders: int = 1) -> int:
    """Processes that read for one loader.

    On a CPU `auto` is none: the training itself keeps all cores busy, and a small run would wait for workers to start.

    Args:
        asked: for all loaders of this process, where it is a choice of ours; a number is taken for each as it is.
        device: where this process trains.
        batches: how many there are to read; a worker reads whole ones.
        loaders: of this process.
    """
    if asked != "auto":
        return asked
    if device.type == "cpu":
        return 0
    spare = cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1  # torchrun's word for processes per machine
    return max(0, min(spare, MOST, batches) // loaders)


def cores() -> int:
    """Those that this process may use; in a container, what its quota comes to."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    mine = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(mine, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return mine


def start_worker(worker_id: int) -> None:
    """One torch thread per worker; Ctrl-C is left to the main process, which saves before it stops."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
