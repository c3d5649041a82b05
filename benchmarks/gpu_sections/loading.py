"""Whether the loader keeps up with the recipe's step: that of SoMA, fed by PNG files of 2048x1024."""

import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from itertools import islice

import numpy as np
import torch
from performance import Case, Feed, Measured, train

from gpu_sections.bench import Bench
from gpu_sections.recipe import configuration, pretrained
from gpu_sections.report import Figures
from minorkey.data.loaders import TrainingLoader
from minorkey.data.sample import RawBatch

WORKERS = (4, 12, 0)


def cases(bench: Bench) -> Iterator[tuple]:
    """A case for each number of workers."""
    for workers in (1, 0) if bench.small else WORKERS:
        yield f"{workers} workers", partial(measure, bench, workers)
    workers = 1 if bench.small else WORKERS[0]
    cached = {"data_cache": str(bench.folder / "pixels")}
    yield f"{workers} workers, decoded pixels kept on disk", partial(measure, bench, workers, cached)


def measure(bench: Bench, workers: int, settings: Mapping[str, str] | None = None) -> Figures:
    """Images per second with a kept batch, with the loader, and of the loader alone."""
    steps = 1 if bench.small else 12
    config = configuration(bench, "soma", {**(settings or {}), "training": {"workers": workers}})
    seen, alone = Measured("soma", str(bench.device)), []

    def feed(loader: TrainingLoader, device: torch.device) -> Feed:
        alone.append(rate_of(loader, steps))
        return CheckedFeed(bench, loader, device, Case(config, steps, 1 if bench.small else 2, threads=0), seen)

    train(config, deepcopy(pretrained(bench.small, bench.device)), feed)
    batch = config.training.batch_size
    kept, loaded = (float(np.median([span.step for span in spans])) for spans in (seen.kept, seen.loaded))
    waited = float(np.median([span.waited for span in seen.loaded]))
    return {
        "images/s, kept batch": batch / kept,
        "images/s with the loader": batch / loaded,
        "ratio": kept / loaded,
        "waited, ms": 1e3 * waited,
        "images/s of the loader alone": alone[0],
    }


def rate_of(loader: TrainingLoader, steps: int) -> float:
    """Images per second when nothing else is done, after what workers load ahead."""
    batches = iter(loader)
    for _ in islice(batches, 2 * loader.num_workers + 1):
        pass
    began = time.perf_counter()
    images = sum(len(batch.keys) for batch in islice(batches, steps))
    return images / (time.perf_counter() - began)


class CheckedFeed(Feed):
    """The feed of performance.py, which ends where no time is left."""

    def __init__(self, bench: Bench, *settings: object) -> None:
        super().__init__(*settings)  # type: ignore[arg-type]
        self.bench = bench

    def __iter__(self) -> Iterator[RawBatch]:
        """Its batches."""
        for batch in super().__iter__():
            self.bench.check()
            yield batch
