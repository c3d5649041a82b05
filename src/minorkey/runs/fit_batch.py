"""How many images of a step fit into memory at a time, measured on a copy that is thrown away."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psutil
import torch
from rich.console import Console
from torch import Tensor

from minorkey.config import RunConfig
from minorkey.data.sample import RawBatch, RawPair
from minorkey.errors import ConfigError, MemoryLimitError
from minorkey.runs.assemble import open_sources, open_targets
from minorkey.runs.fit import describe
from minorkey.runs.learner import build_learner
from minorkey.runs.material import Material
from minorkey.system.processes import process_count
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.table import task_named
from minorkey.training.device import accelerator_for, device_for
from minorkey.training.drawn import draw
from minorkey.training.interruption import StopFlag
from minorkey.training.state import State
from minorkey.training.step import take_step

GPU_SHARE, RAM_SHARE = 0.85, 0.5
"""Of the memory that is free: a GPU also holds CUDA graphs and what judging needs, a machine other programs."""

STEPS = 2
"""Of a trial on a GPU: the optimizer has its state from the first one on."""

PLAIN: dict[str, Any] = {
    "choose": "last", "patience": None, "watch": 0, "snapshots": 0, "workers": 0, "compile": False, "fit_batch": False,
}  # fmt: skip
"""What a trial does without, because it takes no memory while a step is taken, or minutes."""


def fitting_batch(config: RunConfig, folder: RunFolder, console: Console) -> RunConfig:
    """The configuration with the largest batch that fits: its own, halved as often as needed, and as many more a step.

    On a GPU, steps are tried until one fits. Elsewhere what two small batches keep for the backward pass says what a
    large one would.

    Raises:
        ConfigError: there are several processes or rounds, of which this looks at one.
        MemoryLimitError: not even the smallest batch fits.
    """
    if process_count() > 1 or config.regime_class.rounds(config):
        what = "processes" if process_count() > 1 else "rounds"
        raise ConfigError(f"training.batch_size is auto, which measures one of the {what}; give a number")
    sizes = list(_sizes(config))
    device, product = device_for(config.training), config.training.batch_size * config.training.accumulate
    needs = partial(_needed, config, folder, console)
    room = _room(device)
    found = _first_that_fits(sizes, needs, room) if device.type == "cuda" else _by_growth(sizes, needs, room)
    if found is None:
        raise MemoryLimitError(
            f"a batch of {sizes[-1]} does not fit into the {room / 2**30:.1f} GiB that are free; set "
            "training.gradient_checkpointing=true, or a smaller transform.crop"
        )
    told = f"batch_size auto: {found} at a time, {product // found} times a step"
    console.print(f"{told}; {room / 2**30:.1f} GiB are free for it", highlight=False, soft_wrap=True)
    return _with_batch(config, found, product // found)


def _with_batch(config: RunConfig, size: int, accumulate: int, **more: Any) -> RunConfig:
    changes = {"batch_size": size, "accumulate": accumulate, "fit_batch": False, **more}
    return config.model_copy(update={"training": config.training.model_copy(update=changes)})


def _sizes(config: RunConfig) -> Iterator[int]:
    """The batch of the configuration and its halves, as long as they are whole and the head can learn from them."""
    size, least = config.training.batch_size, config.smallest_batch
    yield size
    while size % 2 == 0 and size // 2 >= least:
        size //= 2
        yield size


def _first_that_fits(sizes: list[int], needs: Callable[[int], float], room: float) -> int | None:
    return next((size for size in sizes if needs(size) <= room), None)


def _by_growth(sizes: list[int], needs: Callable[[int], float], room: float) -> int | None:
    """The largest size, if memory grows with it as it does from the last but one to the one above it."""
    if len(sizes) < 3:
        return _first_that_fits(sizes, needs, room)
    small, next_one = sizes[-2], sizes[-3]
    at_small = needs(small)
    each = (needs(next_one) - at_small) / (next_one - small)
    return next((size for size in sizes if at_small + each * (size - small) <= room), None)


def _room(device: torch.device) -> float:
    """Bytes that a training may take."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return GPU_SHARE * torch.cuda.mem_get_info(device)[0]
    return RAM_SHARE * psutil.virtual_memory().available


def _needed(config: RunConfig, folder: RunFolder, console: Console, size: int) -> float:
    """Bytes that a step on so many images takes; infinity where they are more than there are."""
    device = device_for(config.training)
    trial = _with_batch(config, size, 1, steps=STEPS, **PLAIN)
    try:
        if device.type != "cuda":
            return _kept(trial, folder, console)
        torch.cuda.reset_peak_memory_stats(device)
        _take_steps(trial, folder, console, STEPS)
        return torch.cuda.max_memory_reserved(device)
    except torch.OutOfMemoryError:
        return float("inf")
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)


def _kept(trial: RunConfig, folder: RunFolder, console: Console) -> float:
    """Most bytes that the graphs of a step keep at a time for their backward passes."""
    ledger = _Ledger()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: _Kept(tensor, ledger), lambda kept: kept.tensor):
        _take_steps(trial, folder, console, 1)
    return float(ledger.most)


class _Ledger:
    """Bytes of the memory that tensors share, as long as any of them is kept."""

    def __init__(self) -> None:
        self.holders: Counter[int] = Counter()
        self.bytes = self.most = 0

    def note(self, storage: torch.UntypedStorage, kept: int) -> None:
        """One more, or less, is kept of a storage."""
        place, before = storage.data_ptr(), self.holders[storage.data_ptr()]
        self.holders[place] += kept
        if not before or not self.holders[place]:
            self.bytes += kept * storage.nbytes()
            self.most = max(self.most, self.bytes)


class _Kept:
    """A tensor that a graph keeps."""

    def __init__(self, tensor: Tensor, ledger: _Ledger) -> None:
        self.tensor, self._ledger = tensor, ledger
        ledger.note(tensor.untyped_storage(), 1)

    def __del__(self) -> None:
        self._ledger.note(self.tensor.untyped_storage(), -1)


def _take_steps(trial: RunConfig, folder: RunFolder, console: Console, steps: int) -> None:
    """Train for some steps, after the warm-up of the regime, when it does all that it ever does."""
    space = task_named(trial.task).space(trial.label_space)
    material = Material(space, open_sources(trial, space), open_targets(trial, space))
    accelerator = accelerator_for(trial.training)
    learner = build_learner(trial, space, accelerator.device, None, labelled=False)
    fit = describe(trial, folder, material, console, learner, accelerator)
    fit.network.train()
    fit.regime.done = trial.warmup
    state = State(fit)
    batches: Iterator[RawBatch | RawPair] = iter(fit.loader)
    for _ in range(steps):
        count = partial(fit.regime.task.counts, fit.network)
        take_step(fit, state, draw(batches, 1, count, StopFlag()))
