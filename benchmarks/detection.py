"""Training detectors: step time, images/s and memory. And a claim: the auxiliary head costs nothing at inference.

    python benchmarks/detection.py [--heads rt_detr_v2 deformable_detr] [--methods soma lora full frozen] [--steps 10]
    python benchmarks/detection.py --small

DINOv2-L with patches of 16, features of its blocks 12, 16 and 24, under each head; batches of 2 images of 1024 with 30
objects each; random weights, bfloat16 autocast on a GPU. A step is the forward pass with its losses, the backward pass,
clipping at 35 and AdamW, on one batch that stays on the device: how fast images are loaded does not show. The first
method of each head is measured with the auxiliary ATSS head as well. Each row has a process of its own. Times are
medians over the steps; memory is torch's peak.

The claim is about a head's two models, with the auxiliary one (idle, not taken out) and without: in evaluation they
must run the same operations on the same shapes, and the ratio of median times, taken in turns on one image, must be
1.00 +- 0.02.

`--small` is to try the script on a CPU, with networks of toy size: its figures say nothing of the other, and the ratio
is printed, not judged. On a CPU, memory is the resident set at the end.
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import numpy as np
import torch
from inference import operations
from profiled import synchronize
from timed_training import hold
from torch import nn
from transformers import Dinov2Backbone, Dinov2Config

from minorkey.adapters import MethodOptions, attach
from minorkey.data.sample import Batch
from minorkey.models.build import backbone_of
from minorkey.models.catalog import catalog
from minorkey.models.detectors import DETECTION_HEADS
from minorkey.models.options import HeadOptions
from minorkey.system.progress import memory_mb
from minorkey.tasks.detection.labels import BoxLabels
from minorkey.tasks.detection.task import Detection
from minorkey.training.device import accelerator_for
from minorkey.training.graphs import graphed
from minorkey.training.optim import build_optimizer
from minorkey.training.options import TrainingOptions

HEADS = ("rt_detr_v2", "deformable_detr")
METHODS = ("soma", "lora", "full", "frozen")
CLASSES, OBJECTS, BATCH = 7, 30, 2
CLIP = 35.0
WANTED = 0.02


@dataclass(frozen=True)
class Size:
    """How large the networks and images are."""

    image: int
    backbone: dict[str, Any]
    blocks: tuple[int, ...]
    head: dict[str, Any]


LARGE = Size(1024, {}, (12, 16, 24), {})
SMALL = Size(
    128,
    {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2},
    (2, 3, 4),
    {"channels": 32, "encoder_layers": 1, "decoder_layers": 2, "queries": 20},
)


@dataclass(frozen=True)
class Case:
    """What is measured, and how often."""

    size: Size
    head: str
    method: str
    auxiliary: str | None
    steps: int
    threads: int


@dataclass(frozen=True)
class Training:
    """What was seen of one case."""

    device: str
    step: float  # seconds
    memory: float  # MB
    trained: float  # million parameters


@dataclass(frozen=True)
class Inference:
    """A model with the auxiliary head, against the one without."""

    plain: float  # seconds
    ratio: float
    operations: int  # of the plain one
    same: bool


def build(case: Case, auxiliary: str | None) -> nn.Module:
    """A detector with random weights, the same ones with and without the auxiliary head."""
    torch.manual_seed(0)
    row = {**catalog()["dinov2-large"].config, **case.size.backbone, "patch_size": 16, "image_size": case.size.image}
    stages = [f"stage{block}" for block in case.size.blocks]
    backbone = Dinov2Backbone(Dinov2Config(**row, out_features=stages, apply_layernorm=False))
    head = HeadOptions.model_validate({**case.size.head, "name": case.head, "auxiliary": auxiliary})
    return Detection().build(backbone, head, CLASSES, seed=0)


def random_batch(side: int, device: torch.device) -> Batch:
    """Noise with boxes of all sizes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, side, side, generator=generator).to(device)
    corners = side * torch.rand(BATCH, OBJECTS, 2, 2, generator=generator)
    boxes = torch.cat([corners.amin(2), corners.amax(2) + 4], -1).clamp(max=side).to(device)
    classes = torch.randint(CLASSES, (BATCH, OBJECTS), generator=generator).to(device)
    names = [""] * BATCH
    return Batch(images, BoxLabels(list(boxes), list(classes)), names, names)


@dataclass(frozen=True)
class Trainer:
    """A detector in training on one batch."""

    step: Callable[[], None]
    device: torch.device
    trained: float  # million parameters
    holding: ExitStack  # of frozen weights in the precision of autocast


def trainer(case: Case, network: nn.Module) -> Trainer:
    """The training of a network that `build` gave."""
    options, method = TrainingOptions(), MethodOptions.model_validate({"name": case.method})
    accelerator = accelerator_for(options)
    device = accelerator.device
    backbone = backbone_of(network.to(device))
    attach(backbone, method, seed=0)  # a GPU decomposes many times faster
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = build_optimizer(network, options, method.name)
    model, batch = accelerator.prepare(network.train()), random_batch(case.size.image, device)

    def step() -> None:
        optimizer.zero_grad()
        accelerator.backward(torch.stack([*Detection().loss(model, batch).values()]).sum())
        nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()

    trained = sum(weight.numel() for weight in weights) / 1e6
    holding = hold(backbone, accelerator)
    holding.enter_context(graphed(network, DETECTION_HEADS.resolve(case.head), options, device))
    return Trainer(step, device, trained, holding)


def measure_training(case: Case) -> Training:
    """Train with one method, in a process of its own."""
    torch.set_num_threads(case.threads)
    training = trainer(case, build(case, case.auxiliary))
    device = training.device
    times = [seconds(training.step, device) for _ in range(case.steps + 3)][3:]
    return Training(device_name(device), float(np.median(times)), memory_mb(device), training.trained)


def measure_inference(case: Case) -> Inference:
    """Both models, in turns, in one process."""
    torch.set_num_threads(case.threads)
    accelerator = accelerator_for(TrainingOptions())
    models = [build(case, auxiliary).to(accelerator.device).eval() for auxiliary in (None, "atss")]
    image = random_batch(case.size.image, accelerator.device).pixel_values[:1]
    times: list[list[float]] = [[], []]
    with torch.inference_mode(), accelerator.autocast():
        for turn in range(case.steps + 3):
            for which in (0, 1) if turn % 2 else (1, 0):
                taken = seconds(lambda model=models[which]: model(image), accelerator.device)  # type: ignore[misc]
                if turn >= 3:
                    times[which].append(taken)
    plain, assisted = (float(np.median(taken)) for taken in times)
    steps = [operations(model, image) for model in models]
    return Inference(plain, assisted / plain, len(steps[0]), steps[0] == steps[1])


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    """Time of a call, until the device has done what it was given."""
    synchronize(device)
    began = perf_counter()
    run()
    synchronize(device)
    return perf_counter() - began


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", nargs="+", default=HEADS)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--steps", type=int, default=10, help="measured, after 3 that are not; as many images")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--small", action="store_true", help="a toy, to try the script on a CPU")
    if parser.parse_args().small:
        parser.set_defaults(steps=3, threads=1)
    return parser.parse_args()


def print_training(cases: list[Case], rows: list[Training]) -> None:
    columns = ["head", "auxiliary", "method", "trained, million", "step, ms", "images/s", "peak memory, MB"]
    print(f"| {' | '.join(columns)} |\n|---|---|---|{'---:|' * (len(columns) - 3)}")
    for case, row in zip(cases, rows, strict=True):
        figures = f"{row.trained:.1f} | {1e3 * row.step:.0f} | {BATCH / row.step:.2f} | {row.memory:.0f}"
        print(f"| {case.head} | {case.auxiliary or '-'} | {case.method} | {figures} |")


def main() -> None:
    arguments = parse()
    size = SMALL if arguments.small else LARGE
    first = arguments.methods[0]
    cases = [
        Case(size, head, method, auxiliary, arguments.steps, arguments.threads)
        for head in arguments.heads
        for method, auxiliary in [*((method, None) for method in arguments.methods), (first, "atss")]
    ]
    plain = [case for case in cases if case.auxiliary is not None]
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        print_training(cases, rows := list(pool.map(measure_training, cases)))
        compared = list(pool.map(measure_inference, plain))
    print()
    for case, row in zip(plain, compared, strict=True):
        print(
            f"{case.head}, one image: {1e3 * row.plain:.1f} ms, with auxiliary head x {row.ratio:.3f}; "
            f"same operations on the same shapes: {row.same} ({row.operations} operations)"
        )
    network = "toys" if arguments.small else "DINOv2-L"
    print(
        f"\n{network}: {BATCH} images of {size.image}, {OBJECTS} objects each, {arguments.steps} steps, "
        f"{rows[0].device}, {os.cpu_count()}-core {platform.machine()}, torch {torch.__version__}"
    )
    slower = [abs(row.ratio - 1) > WANTED and not arguments.small for row in compared]
    sys.exit(int(any(slower) or not all(row.same for row in compared)))


if __name__ == "__main__":
    main()
