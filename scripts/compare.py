"""Compare methods on a preset over paired seeds, and print the tables of docs/results.md.

With one seed every method sees the same batches and starts from the same head, so differences are taken
per seed. Finished runs are kept: the script can be stopped and started.

    python scripts/compare.py airsim_to_camvid --out runs/compare data_root=../shared/data \
        backbone.name=../shared/weights/vit-tiny-in1k
    python scripts/compare.py demo --out runs/compare
"""

import argparse
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from minorkey.config import parse_overrides, resolve
from minorkey.evaluation.bootstrap import paired_t_interval
from minorkey.evaluation.scores import ScoreTable
from minorkey.reporting.tables import method_name
from minorkey.runs.train import train

METHODS = ("soma", "lora", "full", "frozen")

Tables = dict[str, list[ScoreTable]]  # one table per seed for each method


def unseen(tables: Sequence[ScoreTable]) -> np.ndarray:
    """Unseen mean mIoU of each seed, in percent."""
    return np.array([100 * t.unseen_mean.score for t in tables if t.unseen_mean is not None])


def score_rows(tables: Tables) -> list[str]:
    domains = [(i, score.domain, score.role) for i, score in enumerate(next(iter(tables.values()))[0].domains)]
    head = ["method", *(f"{name} ({role})" for _, name, role in domains), "unseen mean", "per seed"]
    rows = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for method, runs in tables.items():
        means = [f"{np.mean([100 * run.domains[i].score for run in runs]):.1f}" for i, *_ in domains]
        seeds = " / ".join(f"{value:.1f}" for value in unseen(runs))
        rows.append([method_name(method), *means, f"{unseen(runs).mean():.1f}", seeds])
    return ["| " + " | ".join(row) + " |" for row in rows]


def difference_rows(tables: Tables, reference: str) -> list[str]:
    rows = [
        f"| {method_name(reference)} minus | mean difference | 95 % interval over seeds |",
        "|---|---:|---:|",
    ]
    for method, runs in tables.items():
        if method == reference:
            continue
        differences = unseen(tables[reference]) - unseen(runs)
        interval = paired_t_interval(differences)
        low, high = interval.low, interval.high
        rows.append(f"| {method_name(method)} | {differences.mean():+.1f} | [{low:+.1f}, {high:+.1f}] |")
    return rows


def cost_rows(tables: Tables) -> list[str]:
    rows = ["| method | trained parameters | seconds | peak memory, MB |", "|---|---:|---:|---:|"]
    for method, runs in tables.items():
        costs = [run.training for run in runs]
        seconds = np.median([cost.seconds for cost in costs if cost.seconds is not None])
        memory = np.median([cost.peak_memory_mb for cost in costs if cost.peak_memory_mb is not None])
        rows.append(f"| {method_name(method)} | {costs[0].trained_parameters:,} | {seconds:.0f} | {memory:.0f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_intermixed_args()
    torch.set_num_threads(args.threads)
    tables: Tables = {method: [] for method in args.methods}
    for seed in args.seeds:
        for method in args.methods:
            given = parse_overrides([*args.overrides, f"method.name={method}", f"seed={seed}"])
            out = args.out / args.preset / f"{method}-{seed}"
            tables[method].append(train(resolve(args.preset, given), out, resume=True, console=Console(quiet=True)))
            print(f"{method} seed {seed}: unseen mean {unseen(tables[method])[-1]:.1f}", flush=True)
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}"
    sections = [score_rows(tables), difference_rows(tables, args.methods[0]), cost_rows(tables)]
    print("\n" + "\n\n".join("\n".join(rows) for rows in sections))
    print(f"\n{args.preset}, seeds {args.seeds}, {machine}, {args.threads} thread(s)")


if __name__ == "__main__":
    main()
