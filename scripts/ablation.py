"""What of SoMA matters: its start, rank, frozen blocks, annealing and biases, one at a time, over paired seeds.

Every variation differs from SoMA in what its row says. Each method (start of the factors) has a backbone rate of its
own, chosen from the same grid by mIoU on validation images of the source domain with a seed (and, on the built-in
world, scenes) that is not reported; unseen domains are not opened for it. Variations of rank, frozen blocks, annealing
and biases share SoMA's. With one seed all variations see the same batches and start from the same head. Finished
runs are kept: the script can be stopped and started.

    python scripts/ablation.py demo --out runs/ablation
    python scripts/ablation.py airsim_to_camvid --out runs/ablation data_root=../shared/data \
        backbone.name=../shared/weights/vit-tiny-in1k
"""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from choose_rates import best_rate, on_the_source
from rich.console import Console

from minorkey.adapters.targets import find_targets
from minorkey.config import RunConfig, parse_overrides, resolve
from minorkey.evaluation.bootstrap import paired_t_interval
from minorkey.evaluation.scores import ScoreTable
from minorkey.models.backbone import load_backbone
from minorkey.runs.train import train
from minorkey.system.storage import write_json

REFERENCE = "SoMA"
RATES = [3e-4, 1e-3, 3e-3]
CHOICE_SEED = 100  # not one of the seeds that are reported


def variations(blocks: int) -> dict[str, dict[str, Any]]:
    """The table: name -> settings of the method and, as `anneal`, of the weight decay.

    Args:
        blocks: of the backbone; the shares of frozen blocks are taken of it.
    """
    third, two_thirds = round(blocks / 3), round(2 * blocks / 3)
    as_soma: dict[str, Any] = {"first_block": third, "train_bias": True, "anneal": True}
    return {
        REFERENCE: {"name": "soma"},
        "start: random A, B = 0 (LoRA)": {"name": "lora", **as_soma},
        "start: major components (PiSSA)": {"name": "pissa", **as_soma},
        "start: minor B frozen, A = 0 (MiCA)": {"name": "mica", **as_soma},
        "as released: minor part of a random matrix, W whole": {"name": "soma_as_released"},
        "rank 4": {"name": "soma", "rank": 4, "alpha": 4},
        "rank 64": {"name": "soma", "rank": 64, "alpha": 64},
        "no block frozen": {"name": "soma", "first_block": 0},
        "two thirds of the blocks frozen": {"name": "soma", "first_block": two_thirds},
        "weight decay not annealed": {"name": "soma", "anneal": False},
        "biases not trained": {"name": "soma", "train_bias": False},
        "LoRA: every block, no biases, no annealing": {"name": "lora"},
        "full fine-tuning": {"name": "full"},
        "frozen backbone": {"name": "frozen"},
    }


def changes_of(variation: dict[str, Any]) -> dict[str, Any]:
    """A variation as changes to a configuration."""
    method = {key: value for key, value in variation.items() if key != "anneal"}
    training = {"anneal_weight_decay": variation["anneal"]} if "anneal" in variation else {}
    return {"method": method, "training": training}


def with_changes(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    base = config.model_dump(mode="json")
    training = {**base["training"], **changes["training"]}
    return resolve(None, {**base, **changes, "training": training})


def chosen_rate(method: str, args: argparse.Namespace) -> float:
    """The backbone rate of a method, by the source domain's validation images alone."""
    if method == "frozen":
        return RATES[0]  # nothing in the backbone trains
    file = args.out / args.preset / "rates.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    if method in known:
        return known[method]

    def judged(rate: float) -> float:
        changes = {"method": {"name": method}, "training": {"steps": args.choice_steps, "backbone_lr": rate}}
        given = [*args.overrides, f"seed={CHOICE_SEED}", f"world.seed={CHOICE_SEED}"]
        out = args.out / args.preset / "rates" / f"{method}-{rate:g}"
        miou = on_the_source(args.preset, out, changes, given).domains[0].score
        print(f"  {method}: rate {rate:g}, source validation mIoU {100 * miou:.1f}", flush=True)
        return miou

    rate = best_rate(RATES, judged)
    write_json(file, {**known, method: rate})
    return rate


def slug(name: str) -> str:
    """A folder name."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def unseen(tables: Sequence[ScoreTable]) -> np.ndarray:
    """Unseen mean mIoU of each seed, in percent."""
    return np.array([100 * t.unseen_mean.score for t in tables if t.unseen_mean is not None])


def source(tables: Sequence[ScoreTable]) -> np.ndarray:
    """Source mIoU of each seed, in percent."""
    return np.array([100 * table.domains[0].score for table in tables])


def rows(tables: dict[str, list[ScoreTable]], rates: dict[str, float]) -> list[str]:
    lines = [
        "| variation | rate | trained | source | unseen mean | per seed | minus SoMA, unseen [95 %] |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    for name, runs in tables.items():
        seeds = " / ".join(f"{value:.1f}" for value in unseen(runs))
        lines.append(
            f"| {name} | {rates[name]:g} | {runs[0].training.trained_parameters:,} | {source(runs).mean():.1f} "
            f"| {unseen(runs).mean():.1f} | {seeds} | {difference(runs, tables[REFERENCE], name)} |"
        )
    return lines


def difference(runs: list[ScoreTable], reference: list[ScoreTable], name: str) -> str:
    if name == REFERENCE:
        return ""
    gaps = unseen(runs) - unseen(reference[: len(runs)])
    if len(gaps) < 2:
        return f"{gaps.mean():+.1f}"
    interval = paired_t_interval(gaps)
    return f"{gaps.mean():+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--choice-steps", type=int, default=75, help="steps of the runs that choose a rate")
    parser.add_argument("--only", nargs="+", help="variations whose name contains one of these words, and SoMA")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_intermixed_args()


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    config = resolve(args.preset, parse_overrides(args.overrides))
    args.blocks = 1 + max(target.block for target in find_targets(load_backbone(config.backbone).network))
    table = variations(args.blocks)
    names = [n for n in table if not args.only or n == REFERENCE or any(word in n for word in args.only)]
    methods = {table[name]["name"] for name in names}
    chosen = {method: chosen_rate(method, args) for method in sorted(methods)}
    rates = {name: chosen[table[name]["name"]] for name in names}
    tables: dict[str, list[ScoreTable]] = {name: [] for name in names}
    for seed in args.seeds:
        for name in names:
            changes = changes_of(table[name])
            changes["training"]["backbone_lr"] = rates[name]
            run = with_changes(config, {**changes, "seed": seed})
            out = args.out / args.preset / f"{slug(name)}-{seed}"
            tables[name].append(train(run, out, resume=True, console=Console(quiet=True)))
            print(f"{name}, seed {seed}: unseen mean {unseen(tables[name])[-1]:.1f}", flush=True)
    print("\n" + "\n".join(rows(tables, rates)))
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}"
    print(f"\n{args.preset}, seeds {args.seeds}, {config.training.steps} steps, {machine}, {args.threads} thread(s)")


if __name__ == "__main__":
    main()
