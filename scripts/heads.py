"""Every head with every method, judged on CamVid as it is and at night, in fog, rain and snow: docs/results.md.

Each head gets its own learning rate, chosen with the backbone frozen by mIoU on AirSim's validation images, with a
seed that is not reported; methods have the backbone rates of the preset. Mask2Former is smaller than in the paper
(25 queries, 2 encoder and 3 decoder layers), for a CPU. Finished runs are kept: the script can be stopped and started.

    python scripts/heads.py --out runs/heads data_root=../shared/data \
        backbone.name=../shared/weights/vit-tiny-in1k training.steps=200
"""

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from choose_rates import best_rate, on_the_source
from compare import METHODS, unseen
from rich.console import Console

from minorkey.config import parse_overrides, resolve
from minorkey.evaluation.bootstrap import paired_t_interval
from minorkey.evaluation.scores import ScoreTable
from minorkey.reporting.tables import method_name
from minorkey.runs.train import train
from minorkey.system.storage import write_json

PRESET = "airsim_to_camvid"
HEADS: dict[str, dict[str, Any]] = {
    "linear": {"name": "linear"},
    "semfpn": {"name": "semfpn", "channels": 64},
    "upernet": {"name": "upernet", "channels": 64},
    "mask2former": {
        "name": "mask2former", "channels": 64, "queries": 25, "points": 3136, "encoder_layers": 2, "decoder_layers": 3,
    },
}  # fmt: skip
WEATHERS = ("night", "fog", "rain", "snow")
UNSEEN = ["camvid:val", *(f"camvid:val+{weather}@3" for weather in WEATHERS)]
RATES = [1e-3, 2e-3, 4e-3]
CHOICE_SEED = 100  # not one of the seeds that are reported


def chosen_rate(head: str, args: argparse.Namespace) -> float:
    """The rate of a head, by the source domain's validation images alone."""
    file = args.out / "rates.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    if head in known:
        return known[head]

    def judged(rate: float) -> float:
        changes = {
            "head": HEADS[head],
            "method": {"name": "frozen"},
            "training": {"steps": args.choice_steps, "lr": rate},
        }
        out = args.out / "rates" / f"{head}-{rate:g}"
        miou = on_the_source(PRESET, out, changes, [*args.overrides, f"seed={CHOICE_SEED}"]).domains[0].score
        print(f"  {head}: rate {rate:g}, source validation mIoU {100 * miou:.1f}", flush=True)
        return miou

    rate = best_rate(RATES, judged)
    write_json(file, {**known, head: rate})
    return rate


def row(head: str, method: str, tables: list[ScoreTable], reference: list[ScoreTable]) -> str:
    domains = [np.mean([100 * table.domains[i].score for table in tables]) for i in range(len(tables[0].domains))]
    scores = " | ".join(f"{score:.1f}" for score in domains)
    gaps = unseen(reference[: len(tables)]) - unseen(tables)
    against = ""
    if tables is not reference and len(gaps) > 1:
        interval = paired_t_interval(gaps)
        against = f"{gaps.mean():+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"
    seeds = " / ".join(f"{value:.1f}" for value in unseen(tables))
    return f"| {head} | {method_name(method)} | {scores} | {seeds} | {against} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=list(HEADS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--choice-steps", type=int, default=100, help="steps of the runs that choose a rate")
    parser.add_argument("--out", type=Path, default=Path("runs/heads"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_intermixed_args()
    torch.set_num_threads(args.threads)
    tables: dict[tuple[str, str], list[ScoreTable]] = {(h, m): [] for h in args.heads for m in args.methods}
    rates = {head: chosen_rate(head, args) for head in args.heads}
    for seed in args.seeds:
        for head, method in tables:
            given = parse_overrides([*args.overrides, f"method.name={method}", f"seed={seed}"])
            given = {**given, "head": HEADS[head], "unseen": UNSEEN}
            given["training"] = {**given.get("training", {}), "lr": rates[head]}
            out = args.out / f"{head}-{method}-{seed}"
            tables[head, method].append(train(resolve(PRESET, given), out, resume=True, console=Console(quiet=True)))
            print(f"{head}, {method}, seed {seed}: camvid {unseen(tables[head, method])[-1]:.1f}", flush=True)
    print(f"\n| head | method | airsim | camvid | {' | '.join(WEATHERS)} | camvid per seed | SoMA minus it, camvid |")
    print("| --- | --- |" + " ---: |" * (2 + len(WEATHERS)) + " --- | ---: |")
    for (head, method), runs in tables.items():
        print(row(head, method, runs, tables[head, args.methods[0]]))
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}"
    print(f"\nrates of the heads {rates}, seeds {args.seeds}, {machine}, {args.threads} thread(s)")


if __name__ == "__main__":
    main()
