"""The least time that a GPU needs for the kernels of a backbone's training step, counted on fake tensors.

    python benchmarks/roofline.py [--blocks 24]

DINOv2-L, 4 crops of 512, bf16 autocast: forward, backward and AdamW. Every operation that reaches a device takes
`max(bytes / bandwidth, flops / peak)` of an H100 SXM (3.35 TB/s; 989 TFLOP/s in bf16, 67 in float32), without a floor
for small ones: what the passes need at least, not what a clock will show. Views are free, an operation reads what it is
given and writes what it gives back once, attention is one kernel that keeps nothing of its size squared, `addmm` onto a
matrix copies it first, and AdamW is one pass over parameters, gradients and two moments. What the forward pass keeps
for the backward pass: each storage once, parameters left out. No GPU and no weights: tensors are fake, and autocast is
that of a CPU, which takes the same precisions as a GPU's here.

Wanted: SoMA at most 0.66 of full fine-tuning, LoRA in all blocks at most 0.85, and no more kernels of SoMA than of full
fine-tuning. Exits with 1 where one is missed.
"""

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Dinov2Backbone, Dinov2Config

from minorkey.adapters import MethodOptions, attach
from minorkey.adapters.held import held_in
from minorkey.adapters.merged_linear import MergedLinear

BANDWIDTH = 3.35e12  # bytes/s
PEAK = {torch.bfloat16: 989e12, torch.float32: 67e12}  # flops/s of matrix products
ADAMW = 7 * 4  # bytes per value: reads p, g, m, v, writes p, m, v
FREE = ("empty", "new_empty", "empty_like", "empty_strided")  # memory alone
OF_CPU = ("zero_",)  # packed inputs are zeroed there alone (minorkey/adapters/packed.py), and nothing else is
OVERWRITES = ("copy_", "fill_", "zero_")  # do not read what they write to
ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"

FULL, SOMA, LORA = "full fine-tuning", "SoMA", "LoRA in all blocks"
PEFT = "layers of PEFT"
MOST = {SOMA: 0.66, LORA: 0.85}  # of full fine-tuning


@dataclass
class Count:
    """What the kernels of a step take, and what its forward pass keeps for the backward pass."""

    seconds: float = 0.0
    kernels: int = 0
    kept: int = 0  # bytes
    by_name: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, moved: int, flops: int = 0, dtype: torch.dtype = torch.float32) -> None:
        """One kernel, by the bytes that it moves and the operations of its matrix products."""
        seconds = max(moved / BANDWIDTH, flops / PEAK[dtype])
        self.seconds += seconds
        self.kernels += 1
        self.by_name[name] = self.by_name.get(name, 0.0) + seconds


class Roofline(TorchDispatchMode):
    """Counts every operation that is more than a view."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Count()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given, made = tensors((args, kwargs)), tensors(out)
        name = func._schema.name.removeprefix("aten::")
        is_view = not func._schema.is_mutable and storages(made) <= storages(given)
        if made and not is_view and name not in (*FREE, *OF_CPU):
            reads = sum(map(size, given[1:] if name in OVERWRITES else given))
            self.count.add(name, reads + sum(map(size, made)), flops(name, args), made[0].dtype)
            if name == "addmm" and args[0].dim() == 2:
                self.count.add("copy before addmm", 2 * size(args[0]))
        return out


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def storages(of: list[Tensor]) -> set[int]:
    return {tensor.untyped_storage()._cdata for tensor in of}


def size(tensor: Tensor) -> int:
    """Bytes that a kernel moves for a tensor: repeated ones are in a cache."""
    shape = [n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return math.prod(shape) * tensor.element_size()


def flops(name: str, args: Any) -> int:
    """Operations of matrix products, two for each multiplication and addition."""
    if name in ("mm", "addmm", "addmm_"):
        a, b = args[-2:]
        return 2 * a.shape[0] * a.shape[1] * b.shape[1]
    if name == "convolution":  # patches side by side, so every weight meets every pixel once
        return 2 * args[0].shape[0] * args[0].shape[2] * args[0].shape[3] * args[1].shape[0] * args[1].shape[1]
    if name == ATTENTION:
        images, heads, tokens, width = args[0].shape
        return 4 * images * heads * tokens**2 * width
    if name == f"{ATTENTION}_backward":  # the scores again, and four products
        images, heads, tokens, width = args[1].shape
        return 10 * images * heads * tokens**2 * width
    return 0


def dinov2(blocks: int) -> nn.Module:
    """DINOv2-L without values."""
    maps = [f"stage{round(blocks * i / 4)}" for i in (1, 2, 3, 4)]
    config = Dinov2Config(
        hidden_size=1024, num_hidden_layers=blocks, num_attention_heads=16, patch_size=14, image_size=518,
        out_features=maps,
    )  # fmt: skip
    with torch.device("meta"):
        return Dinov2Backbone(config)


def count_step(blocks: int, method: MethodOptions, *, peft: bool = False) -> Count:
    """Forward, backward and AdamW of a backbone under bf16 autocast.

    Args:
        blocks: of the backbone.
        method: how it is adapted.
        peft: PEFT's own layers in place of ours, and frozen weights rounded at every pass.
    """
    network = dinov2(blocks)
    attach(network, method)
    for module in network.modules():
        if peft and isinstance(module, MergedLinear):
            module.__class__ = Linear
    with FakeTensorMode():
        network._apply(lambda t: torch.empty(t.shape, dtype=t.dtype))
        images = torch.empty(4, 3, 512, 512)
        with held_in(network, None if peft else torch.bfloat16), Roofline() as roofline:
            parameters = storages([*network.parameters(), *network.buffers()])
            kept: dict[int, int] = {}

            def keep(tensor: Tensor) -> Tensor:
                storage = tensor.untyped_storage()
                if storage._cdata not in parameters:
                    kept[storage._cdata] = storage.nbytes()
                return tensor

            with torch.autocast("cpu", torch.bfloat16), saved_tensors_hooks(keep, lambda tensor: tensor):
                maps = [features for features in network(images).feature_maps if features.requires_grad]
            torch.autograd.backward(maps, [torch.empty_like(features) for features in maps])
    count = roofline.count
    count.kept = sum(kept.values())
    count.add("adamw", ADAMW * sum(p.numel() for p in network.parameters() if p.requires_grad))
    return count


def variants(blocks: int) -> dict[str, Callable[[], Count]]:
    """Every variant by its name in the table; SoMA by its layers, as it starts from values that there are none of."""
    full = MethodOptions(name="full")
    soma = MethodOptions(name="lora", first_block=blocks // 3, train_bias=True)
    lora = MethodOptions(name="lora")
    return {
        FULL: lambda: count_step(blocks, full),
        SOMA: lambda: count_step(blocks, soma),
        LORA: lambda: count_step(blocks, lora),
        f"{SOMA}, {PEFT}": lambda: count_step(blocks, soma, peft=True),
        f"{LORA}, {PEFT}": lambda: count_step(blocks, lora, peft=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=24, help="of the backbone; DINOv2-L has 24")
    parser.add_argument("--kernels", action="store_true", help="also the time of each kind of kernel")
    args = parser.parse_args()
    counts = {name: count() for name, count in variants(args.blocks).items()}
    if args.kernels:
        for name, count in counts.items():
            print(
                name,
                *(f"  {1e3 * s:6.2f} ms  {kind}" for kind, s in sorted(count.by_name.items(), key=lambda e: -e[1])),
                sep="\n",
            )
    full = counts[FULL]
    print("| | step, ms | ratio | kernels | kept for the backward pass, GB |")
    print("|---|---:|---:|---:|---:|")
    for name, count in counts.items():
        ratio = count.seconds / full.seconds
        print(f"| {name} | {1e3 * count.seconds:.1f} | {ratio:.2f} | {count.kernels} | {count.kept / 1e9:.2f} |")
    held = claims(counts)
    for claim, holds in held.items():
        print(f"{claim}: {'met' if holds else 'MISSED'}")
    sys.exit(0 if all(held.values()) else 1)


def claims(counts: Mapping[str, Count]) -> dict[str, bool]:
    """Whether each claim holds."""
    full = counts[FULL]
    return {
        f"{name} / {FULL} at most {most}": counts[name].seconds <= most * full.seconds for name, most in MOST.items()
    } | {f"no more kernels of {SOMA} than of {FULL}": counts[SOMA].kernels <= full.kernels}


if __name__ == "__main__":
    main()
