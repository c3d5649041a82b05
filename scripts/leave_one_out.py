"""Methods against one another on domains never seen: every domain left out in turn, paired seeds, a rate for each.

First every method's rate is chosen, on validation images of the domains that are trained on; unseen domains are not
opened for that. Then all methods train on each fold with the same seeds, hence the same heads, batches and crops. Every
run is one small JSON in RESULTS, written when it ends: the script may be stopped and started, with another number of
processes or on another machine, and what is there is not run again. Run folders are thrown away.

    python scripts/leave_one_out.py pacs --results benchmarks/results/pacs --processes 8 --deadline 190 \
        data_root=../shared/data backbone.name=../shared/weights/vit-tiny-in1k "backbone.mean=[0.5, 0.5, 0.5]" \
        "backbone.std=[0.5, 0.5, 0.5]"
    python scripts/leave_one_out.py pacs --results benchmarks/results/pacs --table
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

LOW_RANK = (3e-4, 1e-3, 3e-3)


@dataclass(frozen=True)
class Way:
    """A way to adapt, and the rates that it may have."""

    method: dict[str, Any]
    rates: tuple[float, ...]  # of what trains in the backbone; of the head, where that alone trains


WAYS = {
    "frozen": Way({"name": "frozen"}, (1e-3, 3e-3, 1e-2)),
    "full": Way({"name": "full"}, (3e-5, 1e-4, 3e-4)),
    "lora": Way({"name": "lora"}, LOW_RANK),
    "dora": Way({"name": "dora"}, LOW_RANK),
    "pissa": Way({"name": "pissa"}, LOW_RANK),
    "soma": Way({"name": "soma"}, (1e-3, 3e-3, 1e-2)),
    "soma, all blocks": Way({"name": "soma", "first_block": 0}, (1e-3, 3e-3, 1e-2)),
}
HEAD_RATE = 1e-3
"""Of the head, where the backbone trains too."""

EXTENSIONS = 2
"""How often a grid goes on where its best rate is at an edge."""

RATE_SEED = 100
"""Not one of the seeds that are reported."""


@dataclass(frozen=True)
class Job:
    """A run: a way to adapt, at a rate, with a seed, in a fold."""

    way: str
    rate: float
    fold: int
    domain: str  # that the fold leaves out
    seed: int
    unseen: bool  # whether it is judged on that domain; False: a rate is being chosen

    @property
    def file(self) -> Path:
        """Where its result lies, in RESULTS."""
        name = self.way.replace(", ", "-").replace(" ", "-")
        if self.unseen:
            return Path(f"{name}/{self.domain}-{self.seed}.json")
        return Path(f"rates/{name}/{self.rate:g}-{self.domain}-{self.seed}.json")


def train_one(preset: str, overrides: Sequence[str], job: Job, steps: int) -> dict[str, Any]:
    """Train and judge; in a process of the pool, where everything is imported once."""
    from rich.console import Console

    from minorkey.config import parse_overrides, resolve
    from minorkey.errors import TrainingError
    from minorkey.runs.leave_one_out import folds_of
    from minorkey.runs.train import train

    frozen = job.way == "frozen"
    training = {
        "steps": steps,
        "lr": job.rate if frozen else HEAD_RATE,
        "backbone_lr": HEAD_RATE if frozen else job.rate,
        "checkpoint_every": 10 * steps,
        "workers": 0,
    }
    options = {"method": WAYS[job.way].method, "seed": job.seed, "training": training}
    config = resolve(preset, parse_overrides(overrides, options))
    config = folds_of(config)[job.fold].config
    if not job.unseen:
        config = config.model_copy(update={"unseen": []})
    folder, start = Path(tempfile.mkdtemp()) / "run", time.monotonic()
    try:
        scores = train(config, folder, console=Console(quiet=True))
    except TrainingError as error:
        if job.unseen:
            raise
        rest = {"left_out": job.domain, "seed": job.seed, "validation": {}, "diverged": str(error).partition(",")[0]}
        return {"way": job.way, "rate": job.rate, **rest, "seconds": round(time.monotonic() - start, 1)}
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
    seen = {domain.domain: domain.score for domain in scores.domains if domain.role == "source"}
    result: dict[str, Any] = {
        "way": job.way,
        "rate": job.rate,
        "left_out": job.domain,
        "seed": job.seed,
        "validation": seen,
        "steps": steps,
        "batch": config.training.batch_size,
        "crop": list(config.transform.crop),
        "trained_parameters": scores.training.trained_parameters,
        "training_seconds": scores.training.seconds,
        "seconds": round(time.monotonic() - start, 1),
        "device": scores.training.device,
    }
    if job.unseen:
        (score,) = scores.unseen
        result |= {"score": score.score, "images": score.images, "by_class": score.by_class, "details": score.details}
    return result


class Results:
    """What is in RESULTS."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._read = folder, dict[Path, dict[str, Any]]()

    def read(self, job: Job) -> dict[str, Any] | None:
        """What came of a run; None: it is not there."""
        file = self.folder / job.file
        if file not in self._read and file.is_file():
            self._read[file] = json.loads(file.read_text())
        return self._read.get(file)

    def write(self, job: Job, result: Mapping[str, Any]) -> None:
        """Keep what came of a run."""
        file = self.folder / job.file
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".part")
        temporary.write_text(json.dumps(result, indent=1) + "\n")
        temporary.replace(file)


@dataclass
class Plan:
    """Which runs are wanted, given what is there."""

    results: Results
    ways: Sequence[str]
    domains: Sequence[str]
    rate_folds: Sequence[int]
    seeds: Sequence[int]

    def rate(self, way: str) -> tuple[float | None, list[Job]]:
        """The rate of a way, or the runs that are missing to choose it."""
        grid = sorted(WAYS[way].rates)
        factor = grid[-1] / grid[-2]
        for _ in range(EXTENSIONS + 1):
            if missing := [job for rate in grid for job in self._rate_jobs(way, rate) if not self.results.read(job)]:
                return None, missing
            best = max(grid, key=lambda rate: self.validation(way, rate))
            if best not in (grid[0], grid[-1]):
                return best, []
            grid = sorted([*grid, float(f"{best * factor if best == grid[-1] else best / factor:.1g}")])
        return max(grid[:], key=lambda rate: self.validation(way, rate)), []

    def validation(self, way: str, rate: float) -> float:
        """The mean score of a rate on validation images of the domains that were trained on; -1: not run.

        A run that diverged counts 0.
        """
        found = [self.results.read(job) for job in self._rate_jobs(way, rate)]
        scores = [list(one["validation"].values()) for one in found if one]
        return fmean(fmean(each) if each else 0.0 for each in scores) if all(found) else -1.0

    def wanted(self) -> list[Job]:
        """The runs that can be started now: those that choose rates first, then seed by seed."""
        rates = {way: self.rate(way) for way in self.ways}
        choosing = [job for _, missing in rates.values() for job in missing]
        runs = [
            Job(way, rate, fold, domain, seed, unseen=True)
            for seed in self.seeds
            for fold, domain in enumerate(self.domains)
            for way, (rate, _) in rates.items()
            if rate is not None
        ]
        return choosing + [job for job in runs if not self.results.read(job)]

    def _rate_jobs(self, way: str, rate: float) -> list[Job]:
        return [Job(way, rate, fold, self.domains[fold], RATE_SEED, unseen=False) for fold in self.rate_folds]


def run_all(plan: Plan, args: argparse.Namespace) -> bool:
    """Run what is wanted until all is there or time is up; whether all is there."""
    end = time.monotonic() + args.deadline
    context = multiprocessing.get_context("spawn")
    running: dict[Future, Job] = {}
    pool = ProcessPoolExecutor(args.processes, mp_context=context, initializer=_alone, initargs=(args.threads,))
    failed: set[Path] = set()
    lately: deque[float] = deque(maxlen=2 * args.processes)  # seconds of the last runs
    try:
        while time.monotonic() < end:
            begun = {job.file for job in running.values()} | failed
            room = args.processes - len(running)
            if time.monotonic() + max(lately, default=0) < end:
                for job in [job for job in plan.wanted() if job.file not in begun][:room]:
                    running[pool.submit(train_one, args.preset, args.overrides, job, args.steps)] = job
            if not running:
                break
            done, _ = wait(
                running,
                timeout=None if end == float("inf") else max(0.1, end - time.monotonic()),
                return_when=FIRST_COMPLETED,
            )
            for future in done:
                job = running.pop(future)
                if error := future.exception():
                    failed.add(job.file)
                    print(f"{job.file}: {type(error).__name__}: {error}", flush=True)
                    continue
                result = future.result()
                plan.results.write(job, result)
                lately.append(result["seconds"])
                score = f"{100 * result['score']:.1f}" if job.unseen else ""
                left = end - time.monotonic()
                print(f"{job.file} {score} ({result['seconds']:.0f} s; {left:.0f} s left)", flush=True)
    finally:
        for process in list((pool._processes or {}).values()):  # those that this script started, and no others
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
    return not plan.wanted()


def _alone(threads: int) -> None:
    """What a process of the pool begins with."""
    import torch

    torch.set_num_threads(threads)


def table(plan: Plan) -> Iterator[str]:
    """The scores of every way in every fold, and the differences between ways, paired by fold and seed."""
    from minorkey.evaluation.bootstrap import paired_t_interval

    scores = {way: dict(_scores(plan, way)) for way in plan.ways}
    whole = [seed for seed in plan.seeds if all((d, seed) in scores[w] for w in plan.ways for d in plan.domains)]
    yield f"{len(whole)} seeds of every way and fold: {', '.join(map(str, whole))}"
    yield ""
    yield f"| | rate | {' | '.join(plan.domains)} | mean |"
    yield f"|---|---:|{'---:|' * (len(plan.domains) + 1)}"
    for way in plan.ways:
        cells = [_mean([scores[way][domain, seed] for seed in whole]) for domain in plan.domains]
        means = [fmean(scores[way][domain, seed] for domain in plan.domains) for seed in whole]
        yield f"| {way} | {plan.rate(way)[0] or 0:g} | {' | '.join(cells)} | {_mean(means)} |"
    if len(whole) < 2:
        return
    yield ""
    yield "| difference, points | mean | 95 % over seeds, of the mean over domains | 95 % over domains and seeds |"
    yield "|---|---:|---:|---:|"
    for one, other in _pairs(plan.ways):
        cells_ = {(d, s): 100 * (scores[one][d, s] - scores[other][d, s]) for d in plan.domains for s in whole}
        seeds = paired_t_interval([fmean(cells_[domain, seed] for domain in plan.domains) for seed in whole])
        both = paired_t_interval(list(cells_.values()))
        yield (
            f"| {one} - {other} | {seeds.value:+.1f} | {seeds.low:+.1f} to {seeds.high:+.1f} "
            f"| {both.low:+.1f} to {both.high:+.1f} |"
        )


def _scores(plan: Plan, way: str) -> Iterable[tuple[tuple[str, int], float]]:
    rate, _ = plan.rate(way)
    for seed in plan.seeds:
        for fold, domain in enumerate(plan.domains):
            if rate is not None and (found := plan.results.read(Job(way, rate, fold, domain, seed, unseen=True))):
                yield (domain, seed), found["score"]


def _pairs(ways: Sequence[str]) -> Iterator[tuple[str, str]]:
    """SoMA against each other way, then each of these against LoRA."""
    yield from (("soma", way) for way in ways if "soma" in ways and way != "soma")
    yield from ((way, "lora") for way in ways if "lora" in ways and way not in ("soma", "lora", "frozen"))


def _mean(scores: Sequence[float]) -> str:
    if not scores:
        return ""
    spread = f" ± {100 * stdev(scores):.1f}" if len(scores) > 1 else ""
    return f"{100 * fmean(scores):.1f}{spread}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rate-folds", nargs="+", type=int, default=[0, 1], help="places of the domains left out")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each")
    parser.add_argument("--deadline", type=float, default=float("inf"), help="seconds")
    parser.add_argument("--table", action="store_true", help="run nothing; print what is there")
    args = parser.parse_intermixed_args()

    from minorkey.config import parse_overrides, resolve

    config = resolve(args.preset, parse_overrides(args.overrides))
    domains = [Path(source.data).name for source in config.source] + [Path(spec).name for spec in config.unseen]
    plan = Plan(Results(args.results), args.ways, domains, args.rate_folds, args.seeds)
    complete = True
    if not args.table:
        os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
        complete = run_all(plan, args)
    print("\n".join(table(plan)), flush=True)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
