"""Claim: a SoMA training step takes at most 0.70 of the time and 0.60 of the memory of full fine-tuning.

    python benchmarks/step.py [--threads 1] [--repeats 9] [--batch 4]

SoMA (rank 16, first third of the blocks frozen, biases trained) against full fine-tuning and against stock PEFT LoRA of
the same rank on the same layers. On a CPU: ViT-S/16 at 224, linear head; where a GPU is at hand: DINOv2-L at 512 under
Mask2Former, in bfloat16 autocast. Weights are random. Steps (forward, backward, clipping left out, AdamW) of the
three are taken in turns in one process, so that other work on the machine disturbs all of them; medians count, and
the ratio's interval is a bootstrap over the turns. Memory is that of a process of its own for each: on a CPU the
peak resident set above the one of before the network was built, on a GPU torch's own peak.

Counting passes (forward 1, gradients of inputs 1, of weights 1), the backbone's limit is 0.56: two thirds of the blocks
take 2 of 3 passes and one third takes 1. The rest goes into the low-rank branches and the head.
"""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import Dinov2Backbone, Dinov2Config, Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from minorkey.adapters import SoMA, attach
from minorkey.adapters.selection import adapted_targets
from minorkey.models.pyramid import PyramidBackbone

METHODS = ("soma", "peft lora", "full")
WANTED_TIME, WANTED_MEMORY = 0.70, 0.60
CLASSES = 19


class LinearSegmenter(nn.Module):
    """A backbone and one linear layer on its last map."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(backbone.channels[-1], CLASSES, 1)

    def forward(self, images: Tensor) -> Tensor:
        """The loss."""
        logits = self.head(self.backbone(images).feature_maps[-1])
        labels = torch.zeros(logits.shape[0], *logits.shape[2:], dtype=torch.long, device=logits.device)
        return nn.functional.cross_entropy(logits, labels)


class Mask2Former(nn.Module):
    """Mask2Former on the pyramid of a backbone, with one square as its target."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        pyramid = PyramidBackbone.around(backbone, [4, 8, 16, 32])
        config = Mask2FormerConfig(backbone_config=pyramid.config, num_labels=CLASSES)
        self.model = Mask2FormerForUniversalSegmentation(config)
        self.model.model.pixel_level_module.encoder = pyramid
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """The loss."""
        mask = torch.zeros(1, *images.shape[2:], device=images.device)
        mask[:, : images.shape[2] // 2] = 1
        classes = torch.zeros(1, dtype=torch.long, device=images.device)
        count = len(images)
        return self.model(images, mask_labels=[mask] * count, class_labels=[classes] * count).loss


def build(method: str, large: bool) -> nn.Module:
    """The network with what `method` trains."""
    torch.manual_seed(0)
    if large:
        size = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 512}
        features = ["stage8", "stage12", "stage16", "stage24"]
    else:
        size = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "image_size": 224}
        features = ["stage12"]
    config = Dinov2Config(**size, patch_size=16, out_features=features, apply_layernorm=False)
    backbone = Dinov2Backbone(config)
    if method == "soma":
        attach(backbone, SoMA(rank=16))
    elif method == "peft lora":
        names = [target.name for target in adapted_targets(backbone, SoMA(rank=16))]
        backbone.requires_grad_(False)
        inject_adapter_in_model(LoraConfig(r=16, lora_alpha=16, target_modules=names), backbone)
    return (Mask2Former if large else LinearSegmenter)(backbone).train()


def stepper(method: str, args: argparse.Namespace) -> Callable[[], None]:
    """One training step on fixed random images."""
    network = build(method, args.large).to(args.device)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-5)
    side = 512 if args.large else 224
    images = torch.randn(args.batch, 3, side, side, device=args.device)

    def step() -> None:
        with torch.autocast(args.device, torch.bfloat16, enabled=args.device == "cuda"):
            loss = network(images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None], device: str) -> float:
    started = perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - started


def peak_memory_mb(method: str, args: argparse.Namespace) -> float:
    """Peak memory of four steps, in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", method, "--batch", str(args.batch)]
    command += ["--threads", str(args.threads), *(["--large"] if args.large else []), "--device", args.device]
    # Freed blocks go back to the system at once; kept in pieces by the allocator, they would blur the peak.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.split()[-1])


def measure_memory(method: str, args: argparse.Namespace) -> float:
    before = resident_peak_mb()
    step = stepper(method, args)
    for _ in range(4):
        step()
    if args.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resident_peak_mb() - before


def resident_peak_mb() -> float:
    """Peak resident set of this process (Linux); `getrusage` would carry over that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def ratio(times: dict[str, list[float]], other: str) -> tuple[float, float, float]:
    """SoMA's median time over another's, with a 95 % bootstrap interval over the turns."""
    own, others = np.array(times["soma"]), np.array(times[other])
    drawn = np.random.default_rng(0).integers(len(own), size=(2000, len(own)))
    ratios = np.median(own[drawn], axis=1) / np.median(others[drawn], axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(np.median(own) / np.median(others)), float(low), float(high)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cuda = torch.cuda.is_available()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if cuda else "cpu")
    parser.add_argument("--large", action="store_true", default=cuda, help="DINOv2-L, 512, Mask2Former")
    parser.add_argument("--memory-of", choices=METHODS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print(measure_memory(args.memory_of, args))
        return
    steps = {method: stepper(method, args) for method in METHODS}
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for turn in range(args.repeats + 2):
        for method, step in steps.items():
            taken = seconds(step, args.device)
            if turn >= 2:
                times[method].append(taken)
    memory = {method: peak_memory_mb(method, args) for method in METHODS}
    print("| method | step, s | peak memory, MB |\n|---|---:|---:|")
    for method in METHODS:
        print(f"| {method} | {np.median(times[method]):.3f} | {memory[method]:.0f} |")
    ratios = {other: ratio(times, other) for other in ("full", "peft lora")}
    for other, (value, low, high) in ratios.items():
        print(f"SoMA / {other}: time {value:.2f} [{low:.2f}, {high:.2f}], memory {memory['soma'] / memory[other]:.2f}")
    network = "DINOv2-L, 512, Mask2Former" if args.large else "ViT-S/16, 224, linear head"
    machine = torch.cuda.get_device_name() if args.device == "cuda" else f"{os.cpu_count()}-core {platform.machine()}"
    print(
        f"{network}, batch {args.batch}, {args.repeats} turns, {machine}, {args.threads} thread(s), {torch.__version__}"
    )
    missed = ratios["full"][0] > WANTED_TIME or memory["soma"] / memory["full"] > WANTED_MEMORY
    sys.exit(int(missed or ratios["peft lora"][1] > 1))


if __name__ == "__main__":
    main()
