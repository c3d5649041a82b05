"""Claims: a TransDA step of LoRA or SoMA without a momentum network takes at most 0.70 of the time and memory of full
fine-tuning with one; and one backbone takes at most 0.35 of the memory for weights and optimizer of three networks.

    python benchmarks/teachers.py [--turns 9] [--size 224] [--batch 4] [--channels 128]
    python benchmarks/teachers.py --small

Two experiments, each with steps of the same batch, backbone and head; weights, images and labels are random. A step is
that of the training loop: the losses of the regime, each group backpropagated before the next, AdamW, the teacher.

`transda`: a round with pseudo-labels. Swin-T, UPerNet with the FCN auxiliary head, discriminators with dynamic weights.

`modern`: self-training with ClassMix, masked tokens and a feature distance on source and target. DINOv2 under the
SegFormer head: SoMA with `adapter_ema`, whose teacher and anchor live in the student's backbone, against full
fine-tuning with a momentum network and a frozen extractor beside it.

On a CPU the crops are of 224 and the ViT is S; where a GPU is at hand 512 and L, in bfloat16 autocast. The variants
take their steps in turns in one process, so that other work on the machine disturbs all of them; medians count, and a
ratio's interval is a bootstrap over the turns. Where the time goes is printed as medians too, in milliseconds. On a CPU
it is processor time of one thread, to which other work on the machine adds little.

Memory is that of a process of its own for each variant: on a CPU the peak resident set of its steps above what the
process held before the network was built, on a GPU torch's own peak. `held` counts tensors, each memory once: weights
and buffers of the student and of what trains beside it, the optimizer's state, what teacher and anchor have of
their own; gradients are apart. Counting passes (forward 1, gradients of inputs 1, of weights 1), full fine-tuning with
`ema` takes 7; where the student's target pass is the teacher's, a frozen backbone takes 4 and the head 6.

`--small` is to try the script: its figures say nothing. The exit code is 1 where a claim is missed.
"""

import argparse
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from timed_training import MB, Training
from transformers import AutoBackbone, AutoConfig

from minorkey.config import RunConfig, resolve
from minorkey.models.catalog import catalog
from minorkey.models.quiet import quiet_libraries


@dataclass(frozen=True)
class Variant:
    """What trains, and who labels the target."""

    method: str
    teacher: str
    first_block: int | None = None  # 0-based; None is the method's rule

    def __str__(self) -> str:
        blocks = "" if self.first_block is None else f" from block {self.first_block + 1}"
        return f"{self.method}{blocks} + {self.teacher}"


@dataclass(frozen=True)
class Experiment:
    """Variants of one step; ratios are to the first."""

    regime: dict[str, Any]
    variants: tuple[Variant, ...]


EXPERIMENTS = {
    "transda": Experiment(
        {"regime": "transda"},
        (
            Variant("full", "ema"),
            Variant("lora", "ema"),
            Variant("lora", "self"),
            Variant("soma", "adapter_ema"),
            Variant("soma", "self"),
            Variant("lora", "self", first_block=4),  # the blocks of SoMA
        ),
    ),
    "modern": Experiment(
        {
            "regime": "self_training",
            "self_training": {
                "masking": {"hide": "tokens"},
                "feature_distance_source": 0.1,
                "feature_distance_target": 0.1,
            },
        },
        (Variant("full", "ema"), Variant("soma", "adapter_ema")),
    ),
}


def configuration(experiment: str, variant: Variant, backbone: Path, args: argparse.Namespace) -> RunConfig:
    """The configuration of a step."""
    head = {"name": "upernet", "channels": args.channels} if experiment == "transda" else {"name": "segformer"}
    patch = {} if experiment == "transda" else {"patch_size": 16, "image_size": args.size}
    return resolve(
        None,
        {
            **EXPERIMENTS[experiment].regime,
            "source": "world:clear",  # named for the rules of a configuration, never opened
            "target": "world:night",
            "method": {"name": variant.method, "first_block": variant.first_block},
            "teacher": variant.teacher,
            "backbone": {"name": str(backbone), **patch},
            "head": head,
            "transform": {"crop": [args.size, args.size]},
            "training": {"batch_size": args.batch, "device": "auto" if args.device == "cuda" else "cpu"},
        },
    )


def write_backbone(folder: Path, experiment: str, args: argparse.Namespace) -> Path:
    """A backbone with random weights, in a folder of its own."""
    if experiment == "transda":
        row, toy = "swin-tiny", {"embed_dim": 24, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 4, 8]}
    else:
        row = "dinov2-large" if args.large else "dinov2-small"
        toy = {"hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2}
    settings = dict(catalog()[row].config)
    if experiment == "modern":
        settings |= {"patch_size": 16, "image_size": args.size}  # so that loading has nothing to resize
    config = AutoConfig.for_model(settings.pop("model_type"), **{**settings, **(toy if args.small else {})})
    torch.manual_seed(0)
    with quiet_libraries(), torch.device(args.device):  # random numbers take a GPU no time
        AutoBackbone.from_config(config).save_pretrained(folder / experiment)
    return folder / experiment


def time_steps(trainings: dict[Variant, Training], turns: int) -> dict[Variant, list[dict[str, float]]]:
    """Seconds of the parts of each step, in turns; the first two turns do not count."""
    times: dict[Variant, list[dict[str, float]]] = {variant: [] for variant in trainings}
    for turn in range(turns + 2):
        for variant, training in trainings.items():
            parts = training.step()
            if turn >= 2:
                times[variant].append(parts)
    return times


def peak_memory_mb(experiment: str, variant: Variant, folder: Path, args: argparse.Namespace) -> float:
    """Peak memory of a few steps, in a process of its own."""
    index = EXPERIMENTS[experiment].variants.index(variant)
    command = [sys.executable, __file__, "--memory-of", experiment, str(index), str(folder)]
    for name in ("size", "batch", "channels", "device"):
        command += [f"--{name}", str(getattr(args, name))]
    # Freed blocks go back to the system at once; kept in pieces by the allocator, they would blur the peak.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout.split()[-1])


def measure_memory(args: argparse.Namespace) -> float:
    """Of this process: what steps need at most, beyond what it held before it had a network."""
    experiment, index, folder = args.memory_of
    before = resident_mb("VmRSS")
    training = Training(configuration(experiment, EXPERIMENTS[experiment].variants[int(index)], Path(folder), args))
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # what building took is no part of the peak
    for _ in range(3):
        training.step()
    if args.device == "cuda":
        return torch.cuda.max_memory_allocated() / MB
    return resident_mb("VmHWM") - before


def resident_mb(field: str) -> float:
    """Resident set of this process (Linux), now (`VmRSS`) or at most (`VmHWM`)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def ratio(own: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """Ratio of the medians of times `(turns,)`, with a 95 % bootstrap interval over the turns."""
    drawn = np.random.default_rng(0).integers(len(own), size=(2000, len(own)))
    low, high = np.percentile(np.median(own[drawn], axis=1) / np.median(others[drawn], axis=1), [2.5, 97.5])
    return float(np.median(own) / np.median(others)), float(low), float(high)


@dataclass(frozen=True)
class Measured:
    """What was seen of one variant."""

    parts: list[dict[str, float]]  # seconds, one entry per turn
    held: dict[str, float]  # MB
    peak: float  # MB

    @property
    def seconds(self) -> np.ndarray:
        """Of each turn's step."""
        return np.array([sum(parts.values()) for parts in self.parts])

    @property
    def kept(self) -> float:
        """MB of weights and optimizer."""
        return sum(self.held.values()) - self.held["gradients"]


def measure(experiment: str, folder: Path, args: argparse.Namespace) -> dict[Variant, Measured]:
    """Times, in turns, then memory."""
    backbone = write_backbone(folder, experiment, args)
    variants = EXPERIMENTS[experiment].variants
    trainings = {v: Training(configuration(experiment, v, backbone, args)) for v in variants}
    times = time_steps(trainings, args.turns)
    held = {variant: training.held() for variant, training in trainings.items()}
    trainings.clear()
    return {v: Measured(times[v], held[v], peak_memory_mb(experiment, v, backbone, args)) for v in variants}


def print_table(head: list[str], rows: list[list[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()


def report(measured: dict[Variant, Measured]) -> None:
    """The tables: steps and peaks, where the time goes, what is held."""
    first = next(iter(measured.values()))
    rows, names = [], list(dict.fromkeys(name for seen in measured.values() for name in seen.parts[0]))
    for variant, seen in measured.items():
        value, low, high = ratio(seen.seconds, first.seconds)
        cells = [f"{1e3 * np.median(seen.seconds):.0f}", f"{value:.2f} [{low:.2f}, {high:.2f}]"]
        rows.append([str(variant), *cells, f"{seen.peak:.0f}", f"{seen.peak / first.peak:.2f}"])
    print_table(["", "step, ms", "ratio", "peak memory, MB", "ratio"], rows)
    part_rows = [
        [name, *(f"{1e3 * np.median([parts.get(name, 0) for parts in seen.parts]):.0f}" for seen in measured.values())]
        for name in names
    ]
    print_table(["ms of", *map(str, measured)], part_rows)
    held_rows = [[name, *(f"{seen.held[name]:.1f}" for seen in measured.values())] for name in first.held]
    held_rows.append(["without gradients", *(f"{seen.kept:.1f}" for seen in measured.values())])
    held_rows.append(["ratio", *(f"{seen.kept / first.kept:.2f}" for seen in measured.values())])
    print_table(["MB held by", *map(str, measured)], held_rows)


def claims(measured: dict[str, dict[Variant, Measured]]) -> list[tuple[str, float, float]]:
    """What was claimed: its name, what was measured, and the most that it may be."""
    found = []
    if "transda" in measured:
        full = measured["transda"][Variant("full", "ema")]
        for variant, own in measured["transda"].items():
            if variant.teacher == "self":
                found += [(f"time of {variant}", ratio(own.seconds, full.seconds)[0], 0.70)]
                found += [(f"peak memory of {variant}", own.peak / full.peak, 0.70)]
    if "modern" in measured:
        three, one = measured["modern"].values()
        found += [("memory held by weights and optimizer of soma + adapter_ema", one.kept / three.kept, 0.35)]
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cuda = torch.cuda.is_available()
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--channels", type=int, default=128, help="width of the UPerNet")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if cuda else "cpu")
    parser.add_argument("--size", type=int, help="side of a crop; default: 512 on a GPU, else 224")
    parser.add_argument("--small", action="store_true", help="toys, to try the script")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.large = args.device == "cuda" and not args.small
    if args.small:
        args.size, args.batch, args.channels, args.turns = 64, 2, 16, 2
    args.size = args.size or (512 if args.large else 224)
    return args


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    if args.memory_of:
        print(measure_memory(args))
        return
    measured = {}
    for experiment in args.experiments:
        with TemporaryDirectory() as folder:
            measured[experiment] = measure(experiment, Path(folder), args)
        print(f"{experiment}\n")
        report(measured[experiment])
    found = claims(measured)
    for name, value, most in found:
        print(f"{name}: {value:.2f} (wanted: at most {most:.2f})")
    machine = torch.cuda.get_device_name() if args.device == "cuda" else f"{os.cpu_count()}-core {platform.machine()}"
    print(
        f"{args.batch} crops of {args.size}, UPerNet of {args.channels} channels, {args.turns} turns, {machine}, "
        f"torch {torch.__version__}"
    )
    sys.exit(int(not args.small and any(value > most for _, value, most in found)))


if __name__ == "__main__":
    main()
