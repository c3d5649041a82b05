"""Claim: a folded network is the original one: the same operations on the same shapes, in the same time.

    python benchmarks/inference.py [--threads 1] [--repeats 31]

ViT-S/16 at 224 with random weights: as it is, with SoMA attached, and folded in again. Forward passes are taken in
turns in one process; the ratio of medians must be 1.00 +- 0.02. The operations are those that torch dispatches.
"""

import argparse
import copy
import os
import platform
import sys
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Dinov2Backbone, Dinov2Config

from minorkey.adapters import SoMA, attach, fold

WANTED = 0.02


class Recorder(TorchDispatchMode):
    """Writes down every operation with the shapes of its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[str, tuple]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        shapes = tuple(tuple(a.shape) for a in args if isinstance(a, Tensor))
        self.operations.append((str(func), shapes))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def operations(network: nn.Module, image: Tensor) -> list[tuple[str, tuple]]:
    with Recorder() as recorder:
        network(image)
    return recorder.operations


@torch.no_grad()
def seconds(network: nn.Module, image: Tensor) -> float:
    started = perf_counter()
    network(image)
    return perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=31)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    size = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "image_size": 224}
    original = Dinov2Backbone(Dinov2Config(**size, patch_size=16)).eval()
    attached, folded = copy.deepcopy(original), copy.deepcopy(original)
    attach(attached, SoMA(rank=16))
    attach(folded, SoMA(rank=16))
    fold(folded)
    networks = {"original": original, "folded in": folded, "adapter attached": attached}
    image = torch.randn(1, 3, 224, 224)
    times: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(args.repeats + 3):
        # Every other turn runs backwards, so that nothing comes always first.
        for name in list(networks)[:: 1 if turn % 2 else -1]:
            taken = seconds(networks[name], image)
            if turn >= 3:
                times[name].append(taken)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:17s} {1000 * value:7.1f} ms, ratio {value / medians['original']:.3f}")
    same = operations(original, image) == operations(folded, image)
    print(f"same operations on the same shapes: {same} ({len(operations(original, image))} operations)")
    machine = f"{os.cpu_count()}-core {platform.machine()}, {args.threads} thread(s), torch {torch.__version__}"
    print(f"ViT-S/16, 224, one image, {args.repeats} turns, {machine}")
    sys.exit(int(not same or abs(medians["folded in"] / medians["original"] - 1) > WANTED))


if __name__ == "__main__":
    main()
