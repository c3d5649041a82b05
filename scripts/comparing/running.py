"""Run what a plan wants, several at a time, until all is there or time is up."""

import multiprocessing
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparing.plan import Plan
from comparing.records import Job
from comparing.settings import Setting
from comparing.ways import FROZEN, WAYS

from minorkey.config import RunConfig, parse_overrides, resolve

NEVER = 10**9
"""Steps between checkpoints: a run is too short to need one."""


@dataclass(frozen=True)
class Resources:
    """What runs may take."""

    processes: int = 1  # runs at a time
    threads: int = 1  # of each
    seconds: float = float("inf")


def config_of(setting: Setting, overrides: Sequence[str], job: Job) -> RunConfig:
    """The configuration of a run; one that chooses a rate has no unseen domain."""
    of_seed = [f"{key}={job.seed}" for key in setting.of_seed]
    preset = setting.config(overrides)
    rates = {"lr": job.rate} if job.way == FROZEN else {"lr": setting.rate_of_head(preset), "backbone_lr": job.rate}
    way = WAYS[job.way]
    options = {
        "method": way.method,
        "seed": job.seed,
        "training": {"checkpoint_every": NEVER, "workers": 0, **way.training, **rates},
        "evaluation": {"pictures": 0},
    }
    config = resolve(setting.preset, parse_overrides([*setting.overrides, *overrides, *of_seed], options))
    (fold,) = [fold for fold in setting.folds(config) if fold.domain == job.fold]
    if job.unseen:
        return fold.config
    evaluation = fold.config.evaluation.model_copy(update={"source_under": setting.rate_under})
    return fold.config.model_copy(update={"unseen": [], "evaluation": evaluation})


def train_one(setting: Setting, overrides: Sequence[str], job: Job) -> dict[str, Any]:
    """Train and judge; the result as its file has it. The run folder is thrown away."""
    from rich.console import Console

    from minorkey.errors import TrainingError
    from minorkey.runs.train import train
    from minorkey.system.run_folder import RunFolder
    from minorkey.system.storage import read_metadata

    config, start = config_of(setting, overrides, job), time.monotonic()
    folder = Path(tempfile.mkdtemp()) / "run"
    result: dict[str, Any] = {"way": job.way, "rate": job.rate, "fold": job.fold, "seed": job.seed, "validation": {}}
    result |= setting.equal(overrides)
    try:
        scores = train(config, folder, console=Console(quiet=True))
        weights = read_metadata(RunFolder(folder).head)["base_weights_sha256"]
    except TrainingError as error:
        if job.unseen and job.chosen:
            raise
        reason = str(error).partition(",")[0]
        return result | {"diverged": reason, "seconds": round(time.monotonic() - start, 1)}
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
    unseen = [domain for domain in scores.domains if domain.role == "unseen"]
    return result | {
        "validation": {domain.domain: domain.score for domain in scores.domains if domain.role == "source"},
        "scores": {domain.domain: domain.score for domain in unseen},
        "images": {domain.domain: domain.images for domain in unseen},
        "by_class": {domain.domain: domain.by_class for domain in unseen},
        "weights": weights[:12],
        "trained_parameters": scores.training.trained_parameters,
        "training_seconds": scores.training.seconds,
        "seconds": round(time.monotonic() - start, 1),
        "device": scores.training.device,
    }


def run_all(plan: Plan, train: Callable[[Job], dict[str, Any]], resources: Resources) -> bool:
    """Run what is wanted; whether all is there at the end.

    A run that fails is told and not tried again; one that would end after the deadline is not begun.
    """
    end = time.monotonic() + resources.seconds
    running: dict[Future, Job] = {}
    pool = ProcessPoolExecutor(resources.processes, multiprocessing.get_context("spawn"), _alone, (resources.threads,))
    failed: set[Path] = set()
    lately: deque[float] = deque(maxlen=2 * resources.processes)  # seconds of the last runs
    try:
        while time.monotonic() < end:
            if time.monotonic() + max(lately, default=0) < end:
                begun = {job.file for job in running.values()} | failed
                ready = [job for job in plan.wanted() if job.file not in begun]
                for job in ready[: resources.processes - len(running)]:
                    running[pool.submit(train, job)] = job
            if not running:
                break
            left = None if end == float("inf") else max(0.1, end - time.monotonic())
            for future in wait(running, timeout=left, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                if error := future.exception():
                    failed.add(job.file)
                    print(f"{job.file}: {type(error).__name__}: {error}", flush=True)
                    continue
                lately.append(future.result()["seconds"])
                plan.results.write(job, future.result())
                print(_line(job, future.result(), end - time.monotonic()), flush=True)
    finally:
        for process in list((pool._processes or {}).values()):  # those that this script started, and no others
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
    return not plan.wanted()


def _line(job: Job, result: dict[str, Any], left: float) -> str:
    scores = ", ".join(f"{name} {100 * score:.1f}" for name, score in result.get("scores", {}).items())
    return f"{job.file} {scores} ({result['seconds']:.0f} s; {left:.0f} s left)"


def _alone(threads: int) -> None:
    """What a process of the pool begins with."""
    import torch

    torch.set_num_threads(threads)
