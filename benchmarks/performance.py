"""Step time, images per second, memory and GPU use of training, and whether loading images holds it up.

    python benchmarks/performance.py [--methods soma lora full frozen] [--workers 4] [--steps 30] [--turns 3]
    python benchmarks/performance.py --small

The preset `gta_to_cbm`: DINOv2-L under Mask2Former, batches of 4 crops of 512, bfloat16 on a GPU; random weights. What
is measured is the training loop itself (`Loop.run`: matching, losses, AdamW, log lines), fed in turns by one batch that
stays on the device and by the loader, which decodes 2048x1024 PNG files written here (those of benchmarks/loader.py).
They are few, so that the system keeps them in memory: how fast a disk is does not show.

Both feeds start anew in every turn and run for some steps before the clock does, so that batches loaded ahead are used
up. Times are medians over the turns. `ratio` is the rate with the loader over that with the kept batch, near 1 where
loading is not the bottleneck; behind it, the least and the largest of a turn. `waited` is what the training process
spent per step on getting its batch; the GPU may have been at work then. `GPU busy` is the time of kernels and copies,
by torch's profiler over a few more steps of the kept batch, as a share of the time of a step without profiler. Each
method has a process of its own; memory is torch's peak.

`--small` is to try the script on a CPU, with a network of toy size: its figures say nothing of the other. On a CPU,
memory is the resident set at the end, and no GPU is busy.
"""

import argparse
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from itertools import islice, repeat
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from loader import write_files
from profiled import synchronize, work_of
from rich.console import Console
from timed_training import hold
from torch.optim import Optimizer
from torch.profiler import ProfilerActivity, profile
from transformers import Dinov2Backbone, Dinov2Config

from minorkey.adapters import attach
from minorkey.config import RunConfig, resolve
from minorkey.data.loaders import TrainingLoader, training_loader
from minorkey.data.sample import RawBatch
from minorkey.labels import label_space
from minorkey.models.catalog import catalog
from minorkey.models.modes import checkpoint_blocks
from minorkey.models.quiet import quiet_libraries
from minorkey.regimes.base import Setup
from minorkey.regimes.supervised import Supervised
from minorkey.runs.assemble import Network, build_network, open_sources
from minorkey.system.progress import Reporter, memory_mb
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.training.device import accelerator_for, precision_for
from minorkey.training.fit import Fit
from minorkey.training.graphs import graphed
from minorkey.training.loop import Loop
from minorkey.training.optim import build_optimizer
from minorkey.training.parallel import prepare_network

METHODS = ("soma", "lora", "full", "frozen")
SMALL_BACKBONE = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2}
SMALL: dict[str, Any] = {
    "backbone": {"image_size": 64},
    "head": {"channels": 32, "encoder_layers": 1, "decoder_layers": 2, "queries": 10, "points": 256},
    "transform": {"crop": [64, 64]},
}


@dataclass(frozen=True)
class Case:
    """What is trained, and for how long it is measured."""

    config: RunConfig
    steps: int
    turns: int
    threads: int


@dataclass(frozen=True)
class Span:
    """Seconds per step of some steps in a row, and the part of it that went into getting batches."""

    step: float
    waited: float


@dataclass
class Measured:
    """What was seen of one method."""

    method: str
    device: str
    kept: list[Span] = field(default_factory=list)  # fed by the batch on the device, one entry per turn
    loaded: list[Span] = field(default_factory=list)  # fed by the loader
    memory: float = 0.0  # MB
    busy: float = 0.0  # seconds of a step in which the GPU works


class Finished(Exception):
    """Ends the training, before anything is saved."""


class Feed:
    """Batches for `Loop.run` under a clock. A step has ended when the next batch is asked for."""

    def __init__(self, loader: TrainingLoader, device: torch.device, case: Case, measured: Measured) -> None:
        self.loader, self.device, self.case, self.measured = loader, device, case, measured
        self.dataset = loader.dataset  # which `Fit` names in its errors

    def __iter__(self) -> Iterator[RawBatch]:
        """Batches of all turns, then those that are profiled.

        Raises:
            Finished: everything is measured.
        """
        kept = kept_batch(next(iter(self.loader)), self.device)
        for _ in range(self.case.turns):
            yield from self._timed(repeat(kept), self.measured.kept)
            yield from self._timed(iter(self.loader), self.measured.loaded)
        self.measured.memory = memory_mb(self.device)
        yield from self._profiled(repeat(kept))
        raise Finished

    def _timed(self, batches: Iterator[RawBatch], spans: list[Span]) -> Iterator[RawBatch]:
        yield from islice(batches, 2 * self.loader.num_workers + 3)  # what workers load ahead, and a few
        synchronize(self.device)
        began, waited = perf_counter(), 0.0
        for _ in range(self.case.steps):
            asked = perf_counter()
            batch = next(batches)
            waited += perf_counter() - asked
            yield batch
        synchronize(self.device)
        spans.append(Span((perf_counter() - began) / self.case.steps, waited / self.case.steps))

    def _profiled(self, batches: Iterator[RawBatch]) -> Iterator[RawBatch]:
        steps = max(1, self.case.steps // 10)
        activity = ProfilerActivity.CUDA if self.device.type == "cuda" else ProfilerActivity.CPU
        with profile(activities=[activity]) as profiler:
            yield from islice(batches, steps)
            synchronize(self.device)
        self.measured.busy = work_of(profiler, self.device).seconds / steps if self.device.type == "cuda" else 0.0


def kept_batch(batch: RawBatch, device: torch.device) -> RawBatch:
    """The batch as a loader beside a GPU hands it out; sending, distorting and normalising it stay part of a step."""
    return batch.pin_memory() if device.type == "cuda" else batch


def measure(case: Case) -> Measured:
    """Train with one method, in a process of its own."""
    torch.set_num_threads(case.threads)
    config = case.config
    device = accelerator_for(config.training).device
    measured = Measured(config.method.name, torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU")
    network = build_network(config, label_space(config.label_space))
    train(config, network, lambda loader, device: Feed(loader, device, case, measured))
    return measured


def train(
    config: RunConfig,
    network: Network,
    feed: Callable[[TrainingLoader, torch.device], Any],
    change: Callable[[Network], None] = lambda network: None,
    optimizer: Callable[..., Optimizer] = build_optimizer,
    hold: Callable[..., AbstractContextManager] = hold,
) -> None:
    """Train as a run does, until the feed raises `Finished`.

    Args:
        config: what is trained.
        network: what it is trained on, not yet adapted; on the device afterwards.
        feed: from the loader of the configuration, whose images are open by then, to an iterable of batches.
        change: what is done to the network once its adapter is attached.
        optimizer: from the model, the options of the training and the name of the method.
        hold: from the backbone and the accelerator, how frozen weights are kept meanwhile.
    """
    options, method, space = config.training, config.method, label_space(config.label_space)
    accelerator = accelerator_for(options)
    network.model.to(accelerator.device)  # a GPU decomposes many times faster
    attached = attach(network.backbone, method, seed=config.seed)
    if options.gradient_checkpointing:
        checkpoint_blocks(network.model)
    change(network)
    task = Segmentation()
    head = task.heads.resolve(config.head.name)
    model = prepare_network(
        accelerator,
        task,
        network.model,
        config.transform.crop,
        sharded=False,
        compiled=head.compiled if options.compile else None,
    )
    loader = training_loader(
        task, open_sources(config, space).readers, config.transform, batch_size=options.batch_size, steps_from=0,
        steps_to=options.steps, seed=config.seed, mean=network.loaded.mean, std=network.loaded.std,
        workers=options.workers,
    )  # fmt: skip
    with (
        TemporaryDirectory() as folder,
        hold(network.backbone, accelerator),
        graphed(network.model, head, options, accelerator.device),
        suppress(Finished),
    ):
        fit = Fit(
            model=model, attached=attached,
            regime=Supervised(Setup(task, model, attached, len(space), options.steps)),
            optimizer=optimizer(network.model, options, method.name), options=options,
            anneal=method.spec.anneals_weight_decay, accelerator=accelerator,
            loader=feed(loader, accelerator.device), folder=RunFolder(Path(folder)),
            base_sha256=network.base_sha256, seed=config.seed, precision=precision_for(options),
        )  # fmt: skip
        Loop(fit).run(Reporter(Console(quiet=True), method.name, options.steps))


def write_data(folder: Path, count: int) -> None:
    """Street images with labels, as a data set of the user's own."""
    for part in ("images", "labels"):
        (folder / part / "train").mkdir(parents=True)
    for pair in write_files(folder, count):
        pair.image.rename(folder / "images" / "train" / pair.image.name)
        pair.labels.rename(folder / "labels" / "train" / pair.image.name)
    (folder / "dataset.yaml").write_text("legend: cityscapes-train\n")


def write_backbone(folder: Path, small: bool) -> None:
    """A DINOv2 with random weights."""
    torch.manual_seed(0)
    row = catalog()["dinov2-large"].config
    network = Dinov2Backbone(Dinov2Config(**{**row, **(SMALL_BACKBONE if small else {})}))
    with quiet_libraries():
        network.save_pretrained(folder)


def cells(measured: Measured, batch: int) -> list[str]:
    """A row of the table."""
    step, loaded = (float(np.median([span.step for span in spans])) for spans in (measured.kept, measured.loaded))
    ratios = [kept.step / loaded.step for kept, loaded in zip(measured.kept, measured.loaded, strict=True)]
    waited = float(np.median([span.waited for span in measured.loaded]))
    return [
        measured.method,
        f"{1e3 * step:.0f}",
        f"{batch / step:.1f}",
        f"{measured.memory:.0f}",
        f"{measured.busy / step:.0%}",
        f"{batch / loaded:.1f}",
        f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{1e3 * waited:.0f}",
    ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--workers", type=int, default=4, help="processes that load images")
    parser.add_argument("--steps", type=int, default=30, help="measured at a time")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--images", type=int, default=16, help="files")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--small", action="store_true", help="a toy, to try the script on a CPU")
    if parser.parse_args().small:
        parser.set_defaults(workers=1, steps=2, turns=1, images=1, threads=1)
    return parser.parse_args()


def case(method: str, folder: Path, arguments: argparse.Namespace) -> Case:
    """The preset with a method, the files written here, and the wanted sizes."""
    toy = SMALL if arguments.small else {}
    places = {
        "source": str(folder / "street"),
        "backbone": {**toy.get("backbone", {}), "name": str(folder / "backbone")},
    }
    config = resolve("gta_to_cbm", {**toy, **places, "method": method, "training": {"workers": arguments.workers}})
    return Case(config, arguments.steps, arguments.turns, arguments.threads)


def main() -> None:
    arguments = parse()
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder / "street", arguments.images)
        write_backbone(folder / "backbone", arguments.small)
        cases = [case(method, folder, arguments) for method in arguments.methods]
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
            rows = list(pool.map(measure, cases))
    config = cases[0].config
    batch = config.training.batch_size
    head = [
        "method",
        "step, ms",
        "images/s",
        "peak memory, MB",
        "GPU busy",
        "images/s with loader",
        "ratio",
        "waited, ms",
    ]
    print(f"| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 1)}")
    for row in rows:
        print(f"| {' | '.join(cells(row, batch))} |")
    network = "toy" if arguments.small else "DINOv2-L, Mask2Former"
    print(
        f"\n{network}: {batch} crops of {config.transform.crop[0]}, {arguments.turns} x {arguments.steps} steps, "
        f"{arguments.workers} workers, {rows[0].device}, {os.cpu_count()}-core {platform.machine()}, "
        f"torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
