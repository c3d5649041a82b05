"""Claim: a training step hardly waits for its device.

    python benchmarks/waits.py [--where] [--only NAME]

Waits are counted on a CPU, as `device_waits.py` says, over a whole step as `minorkey train` takes it: from the end of
one optimizer step to the end of the next. What follows a step (teacher, average of the weights) and the next batch
are in it; log lines and checkpoints are not. Networks are tiny; layers are as many as in the papers. What all cases
share is in `TINY`.

Wanted: at most 3 waits with Mask2Former and every DETR head, 0 with dense heads and TransDA, 2 in self-training (with
Mask2Former 12, with boxes 7), and at most 250 forward operations in the criterion of Mask2Former, views included.

`operations` are those of the whole step, forward, backward and optimizer, on tensors of the device, views included.

`--where` says where the waits are. The exit code is 1 where a claim is missed.
"""

import argparse
import io
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from device_waits import WAITS, Waits, counted
from rich.console import Console
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import Dinov2Backbone, Dinov2Config, Mask2FormerConfig

from minorkey.config import resolve
from minorkey.models.heads.segmentation.masks import MaskCriterion, mask_targets
from minorkey.models.quiet import quiet_libraries
from minorkey.runs.train import train
from minorkey.training.loop import Loop

CRITERION_OPERATIONS = 256
MASK_TERMS = ("loss_cross_entropy", "loss_mask", "loss_dice")


@dataclass(frozen=True)
class Case:
    """A configuration, and how often its step may wait."""

    wanted: int
    changes: dict[str, Any] = field(default_factory=dict)


TINY: dict[str, Any] = {
    "source": "world:clear",
    "world": {"size": [128, 64], "train_count": 4, "eval_count": 1},
    "method": {"name": "soma", "rank": 4},
    "transform": {"crop": [64, 64]},
    "training": {
        "steps": 3, "batch_size": 2, "log_every": 100, "checkpoint_every": 100, "snapshots": 0, "device": "cpu",
        "weight_ema_from": 1, "clip_norm": 1.0, "workers": 0,
    },
    "evaluation": {"pictures": 0, "window": [64, 64]},
}  # fmt: skip
"""What all runs share: every part of a step that a recipe may have, and no log line or checkpoint before the last."""


def detector(name: str, **changes: Any) -> dict[str, Any]:
    """A run of a detector."""
    return {
        "task": "detection",
        "label_space": "weather7",
        "head": {"name": name, "channels": 32, "queries": 20, **changes},
        "evaluation": {"pictures": 0},
    }


def adapting(regime: str, **changes: Any) -> dict[str, Any]:
    """A run of an adaptation."""
    return {"regime": regime, "target": "world:night", **changes}


MASKS = {"name": "mask2former", "channels": 32, "queries": 20, "points": 50}
EVERYTHING = {
    "balance": "prior",
    "masking": {"hide": "tokens"},
    "feature_distance_source": 0.1,
    "feature_distance_target": 0.1,
}
CASES = {
    "linear": Case(0, {"head": {"name": "linear"}}),
    "semfpn": Case(0, {"head": {"name": "semfpn", "channels": 8}}),
    "segformer": Case(0, {"head": {"name": "segformer", "channels": 8}}),
    "upernet": Case(0, {"head": {"name": "upernet", "channels": 8}}),
    "mask2former": Case(3, {"head": MASKS}),
    "eomt": Case(3, {"head": {"name": "eomt", "queries": 20, "points": 50, "query_blocks": 3}}),
    **{
        f"{name}{' + atss' if auxiliary else ''}": Case(3, detector(name, auxiliary=auxiliary))
        for name in ("rt_detr_v2", "d_fine", "deformable_detr")
        for auxiliary in (None, "atss")
    },
    "atss": Case(0, detector("atss")),
    "transda": Case(0, adapting("transda", transda={"rounds": 1, "class_wise": True})),
    "self_training": Case(2, adapting("self_training", self_training=EVERYTHING)),
    "self_training, confidence": Case(
        2, adapting("self_training", self_training=EVERYTHING | {"balance": "confidence"})
    ),
    # Three passes with a criterion, one of the teacher: each sends the sizes of the maps, each criterion waits twice.
    "self_training, mask2former": Case(12, {**adapting("self_training", self_training=EVERYTHING), "head": MASKS}),
    # A DETR's step on the source, another on pseudo-boxes, and once for how many of these there are.
    "self_training, boxes": Case(
        7, {**adapting("self_training", self_training={"threshold": 0.001}), **detector("rt_detr_v2")}
    ),
}


class Done(Exception):
    """The step was counted."""


def count_step(changes: dict[str, Any], folder: Path) -> Waits:
    """Waits from the end of the first optimizer step to that of the second; in the last round, if there are several."""
    config = resolve(None, TINY | {"backbone": str(write_backbone(folder))} | changes)
    rounds = ["warm-up", "labelled"] if config.regime == "transda" else ["all"]
    loop_run, taken = Loop.run, Waits()

    def run(loop: Loop, reporter: Any) -> None:
        rounds.pop(0)
        if rounds:
            return loop_run(loop, reporter)
        ends = iter([taken.reset, _done])
        hook = register_optimizer_step_post_hook(lambda *_: next(ends)())
        try:
            with counted(taken):
                return loop_run(loop, reporter)
        finally:
            hook.remove()

    with patch.object(Loop, "run", run), quiet_libraries(), suppress(Done):
        train(config, folder / "run", console=Console(file=io.StringIO()))
    return taken


def _done() -> None:
    raise Done


def write_backbone(folder: Path) -> Path:
    """A DINOv2 of four small blocks with random weights."""
    size = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "patch_size": 8, "image_size": 64}
    torch.manual_seed(0)
    Dinov2Backbone(Dinov2Config(**size)).save_pretrained(folder / "backbone")
    return folder / "backbone"


def criterion_operations() -> int:
    """Forward operations of Mask2Former's criterion on the 10 predictions of its decoder, for 4 images."""
    criterion = MaskCriterion(Mask2FormerConfig(num_labels=19, train_num_points=50), dict.fromkeys(MASK_TERMS, 1.0))
    layers = [
        {"masks_queries_logits": torch.randn(4, 100, 16, 16), "class_queries_logits": torch.randn(4, 100, 20)}
        for _ in range(10)
    ]
    targets = mask_targets(torch.randint(19, (4, 64, 64)), 19)
    with counted() as waits:
        criterion(*layers[0].values(), *targets, layers[1:])
    return waits.operations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=CASES, action="append", help="these cases alone")
    parser.add_argument("--where", action="store_true", help="say where the waits are")
    args = parser.parse_args()
    torch.set_num_threads(1)
    missed = False
    print("| step | read | search | send | waits | wanted | copies of the batch | operations |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in args.only or CASES:
        with TemporaryDirectory() as folder:
            waits = count_step(CASES[name].changes, Path(folder))
        kinds = " | ".join(str(waits.kinds[kind]) for kind in WAITS)
        wanted, batch = CASES[name].wanted, waits.kinds["batch"]
        print(f"| {name} | {kinds} | {waits.total} | {wanted} | {batch} | {waits.operations} |", flush=True)
        if args.where:
            for place, times in waits.places.most_common():
                print(f"    {times} x {place}")
        missed |= waits.total > wanted
    operations = criterion_operations()
    wanted = CRITERION_OPERATIONS
    print(f"criterion of Mask2Former, 10 predictions: {operations} forward operations, wanted at most {wanted}")
    sys.exit(int(missed or operations > CRITERION_OPERATIONS))


if __name__ == "__main__":
    main()
