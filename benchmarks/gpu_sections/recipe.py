"""A step of the recipe `gta_to_cbm` on a batch that waits in page-locked memory, for every method and every switch.

DINOv2-L under Mask2Former, random weights, 4 crops of 512; the training loop itself runs, as in performance.py. A new
switch is a row of `CASES`: settings of the configuration, or something that is done to the adapted network.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from accelerate import Accelerator
from peft.tuners.lora import Linear
from performance import SMALL, SMALL_BACKBONE, Finished, kept_batch, train, write_data
from timed_training import hold
from torch import nn
from torch.optim import Optimizer
from transformers import Dinov2Backbone, Dinov2Config

from gpu_sections.bench import Bench, drawn_on
from gpu_sections.report import Figures
from minorkey.adapters.merged_linear import MergedLinear
from minorkey.config import RunConfig, resolve
from minorkey.data.loaders import TrainingLoader
from minorkey.data.sample import RawBatch
from minorkey.labels import label_space
from minorkey.models.backbone import Backbone
from minorkey.models.build import backbone_of
from minorkey.models.catalog import IMAGENET_MEAN, IMAGENET_STD, catalog
from minorkey.models.options import HeadOptions
from minorkey.runs.assemble import Network
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.training.graphs import captured_count
from minorkey.training.optim import build_optimizer

STAGES = ["stage8", "stage12", "stage16", "stage24"]
SMALL_STAGES = ["stage1", "stage2", "stage3", "stage4"]


@dataclass(frozen=True)
class Case:
    """A training that is measured: what it sets differently from the preset."""

    name: str
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    change: Callable[[Network], None] = lambda network: None
    optimizer: Callable[..., Optimizer] = build_optimizer
    hold: Callable[..., AbstractContextManager] = hold


def pefts_own_layers(network: Network) -> None:
    """Let PEFT's layers compute as PEFT does."""
    for module in network.backbone.modules():
        if isinstance(module, MergedLinear):
            module.__class__ = Linear


def exact(backbone: nn.Module, accelerator: Accelerator) -> AbstractContextManager:
    """Keep frozen weights as they are, for autocast to round in every pass."""
    return nullcontext()


def optimizer_of_several_kernels(*settings: Any) -> Optimizer:
    """AdamW as torch has it by default on a GPU: lists of tensors, an operation at a time."""
    optimizer = build_optimizer(*settings)
    for group in optimizer.param_groups:
        group["fused"] = None
    return optimizer


def in_precision(precision: str) -> dict[str, Any]:
    """Settings of a training that computes in it."""
    return {"training": {"precision": precision}}


LAUNCHED = {"training": {"cuda_graphs": False}}
"""Settings of a training whose kernels are launched one by one."""

CASES = (
    Case("soma", "soma"),
    Case("full", "full"),
    Case("soma, no CUDA graphs", "soma", LAUNCHED),
    Case("full, no CUDA graphs", "full", LAUNCHED),
    Case("lora", "lora"),
    Case("frozen", "frozen"),
    Case("lora, no CUDA graphs", "lora", LAUNCHED),
    Case("frozen, no CUDA graphs", "frozen", LAUNCHED),
    Case("soma, PEFT's own layers", "soma", change=pefts_own_layers, hold=exact),
    Case("lora, PEFT's own layers", "lora", change=pefts_own_layers, hold=exact),
    Case("soma, frozen weights in float32", "soma", hold=exact),
    Case("soma, average of the weights", "soma", {"training": {"weight_ema_from": 0}}),
    Case("soma, norm of the gradient clipped", "soma", {"training": {"clip_norm": 1.0}}),
    Case("soma, AdamW of several kernels", "soma", optimizer=optimizer_of_several_kernels),
    Case("full, AdamW of several kernels", "full", optimizer=optimizer_of_several_kernels),
    Case("soma, cuDNN autotuned", "soma", {"training": {"autotune": True}}),
    Case("full, cuDNN autotuned", "full", {"training": {"autotune": True}}),
    Case("soma, fp32", "soma", in_precision("fp32")),
)
ON_GPU = tuple(Case(f"soma, {precision}", "soma", in_precision(precision)) for precision in ("tf32", "fp16"))
"""What a CPU refuses."""


def cases(bench: Bench) -> Iterator[tuple]:
    """A case for each row."""
    return measured_cases(bench, (*CASES, *ON_GPU) if bench.on_gpu else CASES)


def measured_cases(bench: Bench, rows: Sequence[Case]) -> Iterator[tuple]:
    """Names and calls of some rows."""
    return ((row.name, partial(measure, bench, row)) for row in rows)


def measure(bench: Bench, case: Case) -> Figures:
    """The figures of a step. `ready` is what moving, adapting and the first batch took."""
    config = configuration(bench, case.method, case.settings)
    network, seen = deepcopy(pretrained(bench.small, bench.device)), Figures()
    began = time.perf_counter()

    def feed(loader: TrainingLoader, device: torch.device) -> KeptFeed:
        batch = kept_batch(next(iter(loader)), device)
        seen["ready, s"] = time.perf_counter() - began
        return KeptFeed(loader, batch, bench, seen, network.model)

    train(config, network, feed, case.change, case.optimizer, case.hold)
    return seen


class KeptFeed:
    """One batch, again and again, under a clock."""

    def __init__(self, loader: TrainingLoader, batch: RawBatch, bench: Bench, seen: Figures, model: nn.Module) -> None:
        self.dataset = loader.dataset  # which `Fit` names in its errors
        self.batch, self.bench, self.seen, self.model = batch, bench, seen, model

    def __iter__(self) -> Iterator[RawBatch]:
        """The batch, once for each step.

        Raises:
            Finished: everything is measured.
        """
        for _ in self.bench.steps(self.seen, len(self.batch.keys)):
            yield self.batch
        self.seen["replayed"] = captured_count(self.model)
        raise Finished


def configuration(bench: Bench, method: str, settings: dict[str, Any]) -> RunConfig:
    """The preset on files written here, with what a case sets."""
    # The catalog's name brings the first block that the paper adapts in 24.
    toy = {**SMALL, "backbone": {**SMALL["backbone"], "name": "toy"}} if bench.small else {}
    training = {"workers": 0, **settings.get("training", {})}
    return resolve("gta_to_cbm", {**toy, "source": street(bench), "method": method, **settings, "training": training})


def street(bench: Bench) -> str:
    """A data set of a few PNG files of 2048x1024, written once."""
    folder = bench.folder / "street"
    if not folder.is_dir():
        write_data(folder, 1 if bench.small else 4)
    return str(folder)


@cache
def pretrained(small: bool, device: torch.device) -> Network:
    """The network before adaptation, in the memory of the processor: to be copied, not changed."""
    head = HeadOptions.model_validate({"name": "mask2former", "channels": 256, **(SMALL["head"] if small else {})})
    classes = len(label_space("cityscapes19"))
    model: Any = drawn_on(device, lambda: Segmentation().build(random_backbone(small), head, classes, seed=0))
    backbone = backbone_of(model)
    loaded = Backbone(backbone, IMAGENET_MEAN, IMAGENET_STD)
    return Network(model, backbone, loaded, "random", sum(p.numel() for p in model.parameters()))


def random_backbone(small: bool) -> Dinov2Backbone:
    """A DINOv2-L, or a toy."""
    row = {**catalog()["dinov2-large"].config, **(SMALL_BACKBONE if small else {})}
    row |= {"patch_size": 16, "image_size": 64 if small else 512}
    stages = SMALL_STAGES if small else STAGES
    torch.manual_seed(0)
    return Dinov2Backbone(Dinov2Config(**row, out_features=stages, apply_layernorm=False)).eval()
