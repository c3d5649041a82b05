"""Choose learning rates on the source domain's validation images: the same grid for every method.

The head's rate is chosen first, with the backbone frozen; then each method's backbone rate, with that head
rate. Unseen domains are never opened. Finished runs are not run again, so the script can be stopped and
started.

    python scripts/choose_rates.py demo --out runs/rates
    python scripts/choose_rates.py airsim_to_camvid --out runs/rates data_root=../shared/data \
        backbone.name=../shared/weights/vit-tiny-in1k
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from minorkey.adapters.specs import METHODS as SPECS
from minorkey.config import parse_overrides, resolve
from minorkey.evaluation.scores import ScoreTable
from minorkey.runs.train import train

UNUSED = 1e-4  # a frozen backbone has no rate
METHODS = ("soma", "lora", "full")


def on_the_source(preset: str, out: Path, changes: dict[str, Any], arguments: list[str]) -> ScoreTable:
    base = resolve(preset, parse_overrides(arguments)).model_dump(mode="json")
    training = {**base["training"], **changes.pop("training")}
    config = resolve(None, {**base, **changes, "training": training, "unseen": []})
    return train(config, out, resume=True, console=Console(quiet=True))


def best_rate(grid: list[float], judged: Callable[[float], float]) -> float:
    """The best rate of a grid, which goes on, by the same factor, while a rate at its edge is the best."""
    scores = {rate: judged(rate) for rate in sorted(grid)}
    factor = grid[-1] / grid[-2]
    while (best := max(scores, key=scores.__getitem__)) in (min(scores), max(scores)):
        following = float(f"{best * factor if best == max(scores) else best / factor:.1g}")
        scores[following] = judged(following)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="before options that take several values")
    parser.add_argument("--out", type=Path, default=Path("runs/rates"))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=100, help="not one of the seeds that are reported")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=SPECS, metavar="METHOD")
    parser.add_argument("--head-rates", nargs="+", type=float, default=[1e-3, 2e-3, 4e-3])
    parser.add_argument("--backbone-rates", nargs="+", type=float, default=[1e-4, 3e-4, 1e-3])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_intermixed_args()
    torch.set_num_threads(args.threads)

    def judged(method: str, lr: float, backbone_lr: float) -> float:
        changes = {
            "method": {"name": method},
            "seed": args.seed,
            "training": {"steps": args.steps, "lr": lr, "backbone_lr": backbone_lr},
        }
        out = args.out / args.preset / f"{method}-{lr:g}-{backbone_lr:g}"
        table = on_the_source(args.preset, out, changes, args.overrides)
        score = table.domains[0].score
        found = f"source validation {table.metric.name} {table.metric.number(score)}"
        print(f"{method:7s} head {lr:g} backbone {backbone_lr:g}: {found}", flush=True)
        return -table.metric.rank(score)

    head = best_rate(args.head_rates, lambda lr: judged("frozen", lr, UNUSED))
    print(f"chosen: head {head:g}", flush=True)
    for method in args.methods:
        rate = best_rate(args.backbone_rates, lambda rate, method=method: judged(method, head, rate))
        print(f"chosen: {method} {rate:g}", flush=True)


if __name__ == "__main__":
    main()
