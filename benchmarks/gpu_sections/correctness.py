"""Whether the device gives what it should: each case has its `error` and the most that is `wanted`.

Random weights, float32 without TF32 unless a case says otherwise. Differences of outputs are over the largest value,
those of trained weights over their norm.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from functools import partial

import torch
from decompose import SHAPES, WANTED_ERROR, make_weight, relative_error
from peft.tuners.lora import Linear
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import Dinov2Backbone, Dinov2Config, ViTConfig, ViTModel

from gpu_sections.bench import Bench
from gpu_sections.recipe import pretrained
from gpu_sections.report import BOUND, ERROR, Figures
from minorkey.adapters import attach, fold
from minorkey.adapters.held import exact as exact_weights
from minorkey.adapters.held import held_in
from minorkey.adapters.merged_linear import MergedLinear
from minorkey.adapters.peft_layers import added_parameters, tuner_layers
from minorkey.config import resolve, save_config
from minorkey.labels import label_space
from minorkey.models.build import backbone_of
from minorkey.models.options import HeadOptions
from minorkey.models.segmenters import SEGMENTATION_HEADS
from minorkey.runs.assemble import open_sources
from minorkey.runs.fit import fit
from minorkey.runs.material import Material
from minorkey.system.precision import kernels
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.training.graphs import captured_count, graphed
from minorkey.training.options import TrainingOptions

ROUNDING = 1e-4
"""Of float32 through 24 blocks, on another device or with a weight rounded once more."""

RESUMED = 10.0
"""How much farther a resumed training may be than one that is only repeated, whose sums a GPU orders differently. What
a lost optimizer state or another batch makes of it is a thousand times as far."""

RUN = {
    "source": "world:clear",
    "world": {"size": [64, 32], "train_count": 8, "eval_count": 2},
    "head": {"name": "semfpn", "channels": 16},
    "method": {"name": "soma", "rank": 4},
    "transform": {"crop": [32, 32], "scale_ratios": [1.0, 1.25]},
    "training": {"steps": 4, "batch_size": 2, "checkpoint_every": 2, "log_every": 1, "lr": 1e-3, "precision": "fp32"},
}


TRAINED = 0.15
"""Of gradients of adapters in bf16, together; rounding alone makes 0.02 to 0.1 of them."""

BLOCKS = {2**28: 4, 2**22: 64, 2**17: 256, 2**12: 256, 2**8: 1024}
"""Sizes and numbers of what memory is filled with: what torch keeps for large tensors, and for small ones."""


def cases(bench: Bench) -> Iterator[tuple]:
    """Adapters, devices, precision, checkpoints, decomposition."""
    for side in (112, 144, 224):
        yield f"gradients at {side} px = CPU", partial(gradients, bench, side)
    yield "gradients of PEFT's layers = CPU", partial(gradients, bench, 144, own_layers=False)
    yield "with torch's choice of attention, for comparison", partial(gradients, bench, 144, chosen=False)
    yield "PEFT's layers with it, for comparison", partial(gradients, bench, 144, own_layers=False, chosen=False)
    yield "replayed = launched", partial(replayed, bench)
    yield "an EoMT judged while it trains = judged alone", partial(judged, bench)
    yield "folded in = adapted", partial(folded, bench)
    yield "this device = CPU", partial(devices, bench)
    yield "bf16 autocast, for comparison", partial(half, bench)
    yield "2 steps and 2 = 4 steps", partial(resumed, bench)
    for index, (role, shape) in enumerate([("query", (64, 64))] if bench.small else [*SHAPES.items()][::2]):
        yield f"minor triplets of {role}, {shape[0]} x {shape[1]}", partial(decomposed, bench, index, shape)
    yield "SoMA attached on the device", partial(attached, bench)


def replayed(bench: Bench) -> Figures:
    """Gradients of the recipe's network, adapted, in the precision of its training, with CUDA graphs and without."""
    exact()
    model = deepcopy(pretrained(bench.small, bench.device).model).to(bench.device).train()
    backbone, images = backbone_of(model), random_images(bench).to(bench.device)
    attach(backbone)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def gradients(pixels: Tensor) -> Tensor:
        for parameter in trained:
            parameter.grad = None
        with torch.autocast(bench.device.type, torch.bfloat16):
            output = model(pixel_values=pixels)
        logits = output.class_queries_logits.float(), output.masks_queries_logits.float()
        sum(each.square().mean() for each in logits).backward()
        return torch.cat([parameter.grad.flatten() for parameter in trained if parameter.grad is not None])

    with held_in(backbone, torch.bfloat16):
        first, again = gradients(images), gradients(images)
        with graphed(model, SEGMENTATION_HEADS.resolve("mask2former"), TrainingOptions(), bench.device):
            for share in (0.5, 0.6, 0.7, 0.8):
                gradients(share * images)
            found, count = gradients(images), captured_count(model)
    repeated = float((again - first).norm() / first.norm())
    error = float((found - first).norm() / first.norm())
    return {ERROR: error, BOUND: RESUMED * max(repeated, 1e-6), "repeated": repeated, "replayed": count}


def judged(bench: Bench) -> Figures:
    """Logits of an EoMT, whose encoder is a view of its modules, by exact weights while half precision is held."""
    exact()
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 64, "patch_size": 8}
    backbone = Dinov2Backbone(Dinov2Config(**sizes, out_indices=[1, 2, 3, 4]))
    head = HeadOptions.model_validate({"name": "eomt", "queries": 8, "query_blocks": 1})
    model = Segmentation().build(backbone, head, 4, seed=0).to(bench.device).eval()
    attach(encoder := backbone_of(model))
    images = torch.randn(2, 3, 64, 64, device=bench.device)
    with torch.inference_mode():
        before = model(pixel_values=images).class_queries_logits
        with held_in(encoder, torch.bfloat16, model), exact_weights(model):
            while_held = model(pixel_values=images).class_queries_logits
    return {ERROR: farthest([while_held], [before]), BOUND: ROUNDING}


def gradients(bench: Bench, side: int, *, own_layers: bool = True, chosen: bool = True) -> Figures:
    """Of SoMA's factors in a ViT-Ti, in the precision of training, where memory holds NaN from before.

    An operation that reads what was never written gives other gradients then; a fresh process would hide it.

    Args:
        bench: the device.
        side: of the images, in pixels: sizes of attention are 1 + (side / 16)^2.
        own_layers: as this package computes them; else as PEFT does.
        chosen: attention as `kernels` has it; else torch's own choice, which need not be right.
    """
    exact()
    reference = factors_gradient(bench, side, torch.device("cpu"), torch.float32)
    worst = 0.0
    for _ in range(1 if bench.small else 4):
        fill_with_nan(bench.device)
        with kernels("bf16") if chosen else nullcontext():
            found = factors_gradient(bench, side, bench.device, torch.bfloat16, own_layers)
        error = float((found - reference).norm() / reference.norm())
        worst = max(worst, error if error == error else 1e9)  # NaN is as wrong as can be
    return {ERROR: worst, **({BOUND: TRAINED} if chosen else {})}


def factors_gradient(
    bench: Bench, side: int, device: torch.device, dtype: torch.dtype, own_layers: bool = True
) -> Tensor:
    """Gradients of all A and B of a ViT-Ti whose adapters have moved a little, flat, on the CPU."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 192, "intermediate_size": 768, "num_attention_heads": 3}
    config = ViTConfig(**sizes, num_hidden_layers=2 if bench.small else 12, image_size=side, initializer_range=0.05)
    network = ViTModel(config, add_pooling_layer=False).train()
    attach(network)
    for module in () if own_layers else network.modules():
        if isinstance(module, MergedLinear):
            module.__class__ = Linear
    factors = [parameter for name, parameter in network.named_parameters() if "lora_" in name]
    for parameter in factors:
        parameter.data.add_(3e-3 * torch.randn_like(parameter))
    images, direction = torch.randn(2 if bench.small else 24, 3, side, side), torch.randn(config.hidden_size)
    network.to(device)
    with held_in(network, dtype if own_layers else None):
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            output = network(images.to(device)).last_hidden_state
        (output.float() @ direction.to(device)).tanh().mean().backward()
    return torch.cat([parameter.grad.float().cpu().flatten() for parameter in factors if parameter.grad is not None])


def fill_with_nan(device: torch.device) -> None:
    """Let what is allocated next on a GPU hold NaN before it is written."""
    if device.type == "cuda":
        for size, count in BLOCKS.items():
            kept = [torch.full((size,), float("nan"), device=device, dtype=torch.bfloat16) for _ in range(count)]
            del kept


def folded(bench: Bench) -> Figures:
    """Feature maps of the recipe's backbone, its adapters moved away from their start."""
    exact()
    backbone = deepcopy(pretrained(bench.small, bench.device).backbone).to(bench.device)
    attach(backbone)
    for layer in tuner_layers(backbone).values():
        for parameter in added_parameters(layer).values():
            parameter.data.add_(0.01 * torch.randn_like(parameter))
    before = maps(backbone, bench)
    fold(backbone)
    return {ERROR: farthest(maps(backbone, bench), before), BOUND: ROUNDING}


def devices(bench: Bench) -> Figures:
    """Logits of a linear head: a mask head's attention is cut off at a threshold, where rounding shows."""
    exact()
    model = linear_model(bench)
    images = random_images(bench)
    with torch.inference_mode():
        reference = model(images).logits
        logits = model.to(bench.device)(images.to(bench.device)).logits.cpu()
    return {ERROR: farthest([logits], [reference]), BOUND: ROUNDING}


def half(bench: Bench) -> Figures:
    """How far bf16 is, with the adapters that training has."""
    exact()
    model, images = linear_model(bench).to(bench.device), random_images(bench).to(bench.device)
    attach(model.backbone.backbone)
    with torch.inference_mode():
        reference = model(images).logits
        with torch.autocast(bench.device.type, torch.bfloat16):
            logits = model(images).logits
    return {ERROR: farthest([logits.float()], [reference]), "same labels": agreement(logits, reference)}


def resumed(bench: Bench) -> Figures:
    """A run of 4 steps, the same again, and one that goes on from the first one's checkpoint at 2."""
    runs = [RunFolder(bench.folder / name) for name in ("first", "again", "resumed")]
    config = resolve(None, RUN)
    space = label_space(config.label_space)
    material = Material(space, open_sources(config, space))
    for run in runs:
        save_config(config, run.config)
        if run is runs[2]:
            kept = "step-0000002"
            shutil.copytree(runs[0].checkpoints / kept, run.checkpoints / kept, dirs_exist_ok=True)
        fit(config, run, material, Console(quiet=True))
        bench.check()
    first, again, other = (torch.cat([value.flatten() for value in load_file(run.head).values()]) for run in runs)
    repeated = float((again - first).norm() / first.norm())
    bound = RESUMED * max(repeated, 1e-7)
    return {ERROR: float((other - first).norm() / first.norm()), BOUND: bound, "repeated": repeated}


def decomposed(bench: Bench, index: int, shape: tuple[int, int]) -> Figures:
    """As decompose.py: the error of what the device finds."""
    weight = make_weight(shape, "gaussian", seed=index).to(bench.device)
    return {ERROR: relative_error(weight), BOUND: WANTED_ERROR}


def attached(bench: Bench) -> Figures:
    """Seconds to decompose all adapted layers of the recipe's backbone and to put the adapters in."""
    backbone = deepcopy(pretrained(bench.small, bench.device).backbone).to(bench.device)
    backbone.load_state_dict({name: 1.001 * value for name, value in backbone.state_dict().items()})  # not those cached
    began = time.perf_counter()
    layers = attach(backbone).layers
    return {"seconds": time.perf_counter() - began, "layers": len(layers)}


def exact() -> None:
    """Let float32 be float32."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def random_images(bench: Bench) -> Tensor:
    """Two, on the processor."""
    side = 64 if bench.small else 512
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def maps(backbone: nn.Module, bench: Bench) -> list[Tensor]:
    """Feature maps of the random images."""
    return list(backbone(random_images(bench).to(bench.device)).feature_maps)


def linear_model(bench: Bench) -> nn.Module:
    """The recipe's backbone under a linear head."""
    backbone = deepcopy(pretrained(bench.small, bench.device).backbone)
    head = HeadOptions.model_validate({"name": "linear"})
    return Segmentation().build(backbone, head, len(label_space("cityscapes19")), seed=0).eval()


def farthest(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest difference over the largest value, of the worst pair."""
    pairs = zip(found, expected, strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in pairs)


def agreement(logits: Tensor, reference: Tensor) -> float:
    """Share of pixels with the same class."""
    return float((logits.argmax(1) == reference.argmax(1)).float().mean())
