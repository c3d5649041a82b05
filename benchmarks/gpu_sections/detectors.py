"""The training steps of detection.py: RT-DETRv2 and Deformable DETR on DINOv2-L, 2 images of 1024."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache, partial

import torch
from detection import BATCH, HEADS, LARGE, SMALL, Case, build, trainer
from torch import nn

from gpu_sections.bench import Bench, drawn_on, take
from gpu_sections.report import Figures
from minorkey.training.graphs import captured_count

METHODS = ("full", "soma", "lora", "frozen")


def cases(bench: Bench) -> Iterator[tuple]:
    """Every method under each head, fewer where all is small, then SoMA with the auxiliary head."""
    others = () if bench.small else METHODS[2:]
    for auxiliary, methods in ((None, METHODS[:2]), (None, others), ("atss", ("soma",))):
        for head in HEADS:
            for method in methods:
                name = f"{head}, {method}" + (f", {auxiliary}" if auxiliary else "")
                yield name, partial(measure, bench, head, method, auxiliary)


def measure(bench: Bench, head: str, method: str, auxiliary: str | None) -> Figures:
    """A step; the networks of a head are copies of one."""
    case = Case(SMALL if bench.small else LARGE, head, method, auxiliary, steps=0, threads=0)
    training = trainer(case, model := deepcopy(network(head, auxiliary, bench.small, bench.device)))
    seen = take(bench, training.step, BATCH)
    return {"trained, million": training.trained, **seen, "replayed": captured_count(model)}


@cache
def network(head: str, auxiliary: str | None, small: bool, device: torch.device) -> nn.Module:
    """A detector with random weights, in the memory of the processor."""
    case = Case(SMALL if small else LARGE, head, "frozen", auxiliary, steps=0, threads=0)
    return drawn_on(device, lambda: build(case, auxiliary))
