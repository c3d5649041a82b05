"""Pretrains the small built-in backbone on the built-in world, without semantic labels.

    python scripts/pretrain_backbone.py --out src/minorkey/models/builtin

The network is a PVT v2 of 2.7 million parameters. What it learns from is told in `pretraining/views.py` and
`pretraining/objective.py`, what the weights are good for in `docs/backbone.md`. A run that was stopped goes on with
`--resume`, bit for bit as if it had not been.
"""

import argparse
import copy
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from pretraining.objective import Pretraining, Targets
from pretraining.storage import restore, run_tensors, save_backbone, save_state
from pretraining.views import HELD_OUT, KINDS, SEEN, WORLD_SEED, PairedViews
from torch.utils.data import DataLoader
from transformers import PvtV2Backbone, PvtV2Config

VALIDATION_BATCHES = 16


def build_backbone() -> PvtV2Backbone:
    """The architecture of the built-in backbone (Wang et al. 2022, arXiv 2106.13797), with random weights."""
    config = PvtV2Config(
        hidden_sizes=[32, 64, 128, 192],
        depths=[2, 2, 4, 2],
        num_attention_heads=[1, 2, 4, 6],
        sr_ratios=[8, 4, 2, 1],
        mlp_ratios=[4, 4, 4, 4],
        drop_path_rate=0.0,
        out_indices=[0, 1, 2, 3],
    )
    return PvtV2Backbone(config)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--steps", type=int, default=3200, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=8, help="scenes a step, two views of each")
    parser.add_argument("--lr", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--warmup", type=int, default=100, help="steps of linear warm-up")
    parser.add_argument("--descent", type=float, default=0.25, help="share of the steps in which the rate goes to zero")
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--momentum", type=float, default=0.996, help="of the averaged weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="torch threads; rendering has its own process")
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    return parser.parse_args()


def batches(args: argparse.Namespace, first: int, last: int) -> Iterator[tuple[torch.Tensor, Targets]]:
    """Batches of steps `first` to `last - 1`, rendered in order by one other process."""
    views = PairedViews(args.seed, first * args.batch, last * args.batch)
    return iter(DataLoader(views, batch_size=args.batch, num_workers=1, prefetch_factor=6))


def losses_of(model: Pretraining, batch: tuple[torch.Tensor, Targets]) -> dict[str, torch.Tensor]:
    views, targets = batch
    return model(views, Targets(*targets))


def learning_rate(args: argparse.Namespace, step: int) -> float:
    """Linear warm-up, then the peak rate, and over the last share of the steps down to zero in a line.

    Until the descent begins nothing depends on the number of steps: a run can be made longer.
    """
    descent = args.steps * args.descent
    return args.lr * min(1.0, (step + 1) / args.warmup, (args.steps - step) / descent)


def build_optimizer(model: torch.nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels but not vectors."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))
    for parameter in model.parameters():  # the state is there from the start, so that a resumed run can fill it
        optimizer.state[parameter] = {
            "step": torch.zeros(()),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer


def update(model: Pretraining, optimizer: torch.optim.Optimizer, loss: torch.Tensor, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


@torch.no_grad()
def follow(average: torch.nn.Module, model: torch.nn.Module, momentum: float) -> None:
    """Move the averaged weights a little towards the model's."""
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)


@torch.no_grad()
def validation_loss(model: Pretraining, args: argparse.Namespace) -> float:
    """Mean total loss over batches that come after the last one of the training."""
    steps = range(args.steps, args.steps + VALIDATION_BATCHES)
    stream = batches(args, steps.start, steps.stop)
    return sum(losses_of(model, next(stream))["total"].item() for _ in steps) / len(steps)


def describe(args: argparse.Namespace, progress: dict) -> dict:
    """What `pretraining.json` says of the weights."""
    options = {key: value for key, value in vars(args).items() if key not in ("out", "resume", "save_every")}
    return {
        **options,
        "finished_steps": progress["step"],
        "minutes": round(progress["seconds"] / 60, 1),
        "losses": {name: round(value, 4) for name, value in progress["losses"].items()},
        "domains_seen": SEEN,
        "domains_held_out": HELD_OUT,
        "world_seed": WORLD_SEED + args.seed,
        "machine": f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    model = Pretraining(build_backbone(), len(KINDS))
    average = copy.deepcopy(model)
    optimizer = build_optimizer(model, args.weight_decay)
    tensors = run_tensors(model, average, optimizer)
    checkpoint = args.out / "checkpoint.safetensors"
    progress = restore(tensors, checkpoint) if args.resume else {"step": 0, "seconds": 0.0, "losses": {}}
    first, means, began = progress["step"], progress["losses"], time.monotonic() - progress["seconds"]
    stream, started = batches(args, first, args.steps), time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    for step in range(first, args.steps):
        losses = losses_of(model, next(stream))
        update(model, optimizer, losses["total"], learning_rate(args, step))
        follow(average, model, min(args.momentum, (step + 1) / (step + 10)))
        means |= {k: 0.98 * means.get(k, v.item()) + 0.02 * v.item() for k, v in losses.items()}
        done = step + 1
        if done % 50 == 0:
            report(args, done, (done - first) / (time.monotonic() - started), means)
        if done % args.save_every == 0 or done == args.steps:
            progress = {"step": done, "seconds": time.monotonic() - began, "losses": means}
            save_state(checkpoint, tensors, progress)
            save_backbone(average.backbone, args.out, describe(args, progress))
    finish(args, model, average, describe(args, progress))
    checkpoint.unlink()


def report(args: argparse.Namespace, done: int, rate: float, means: dict[str, float]) -> None:
    """One plain line; `rate` is in steps a second."""
    parts = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
    left = (args.steps - done) / rate / 60
    print(
        f"step {done}/{args.steps}  {parts}  {rate * args.batch:.1f} scenes/s  {left:.1f} min left",
        flush=True,
    )


def finish(args: argparse.Namespace, model: Pretraining, average: Pretraining, record: dict) -> None:
    """Keep the last or the averaged weights, whichever has the lower pretraining loss on unused scenes."""
    scores = {"last": validation_loss(model, args), "averaged": validation_loss(average, args)}
    kept = min(scores, key=lambda name: scores[name])
    record |= {"validation_loss": {k: round(v, 4) for k, v in scores.items()}, "weights": kept}
    save_backbone((model if kept == "last" else average).backbone, args.out, record)
    print(f"validation loss {scores}: {kept} weights saved to {args.out}", flush=True)


if __name__ == "__main__":
    train(parse_arguments())
