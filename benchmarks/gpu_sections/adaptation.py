"""The steps of teachers.py: TransDA with each method and teacher, and the modern self-training with one backbone."""

from argparse import Namespace
from collections.abc import Iterator
from functools import partial

from teachers import EXPERIMENTS, Variant, configuration, write_backbone
from timed_training import Training

from gpu_sections.bench import Bench, take
from gpu_sections.report import Figures
from minorkey.training.graphs import captured_count

FIRST = (
    ("transda", Variant("full", "ema")),
    ("transda", Variant("lora", "self")),
    ("transda", Variant("soma", "self")),
    ("modern", Variant("full", "ema")),
    ("modern", Variant("soma", "adapter_ema")),
)
"""What is claimed about, before the others."""


def cases(bench: Bench) -> Iterator[tuple]:
    """Every variant of every experiment, fewer where all is small."""
    every = [(name, variant) for name, experiment in EXPERIMENTS.items() for variant in experiment.variants]
    others = [] if bench.small else [pair for pair in every if pair not in FIRST]
    for name, variant in [*FIRST, *others]:
        yield f"{name}: {variant}", partial(measure, bench, name, variant)


def measure(bench: Bench, experiment: str, variant: Variant) -> Figures:
    """A step, what of it goes where, and what weights, optimizer and teacher hold."""
    size, batch, channels = (64, 2, 16) if bench.small else (512, 4, 128)
    args = Namespace(size=size, batch=batch, channels=channels, device=bench.device.type)
    args.small, args.large = bench.small, bench.on_gpu and not bench.small
    folder = bench.folder / experiment
    if not folder.is_dir():
        write_backbone(bench.folder, experiment, args)
    training = Training(configuration(experiment, variant, folder, args))
    training.clock.waits = False
    seen = take(bench, training.step, 2 * batch)
    seen["replayed"] = captured_count(training.network)
    held = training.held()
    seen["held without gradients, MB"] = sum(mb for part, mb in held.items() if part != "gradients")
    training.clock.waits = True
    seen["parts, ms"] = ", ".join(f"{part} {1e3 * seconds:.1f}" for part, seconds in training.step().items())
    return seen
