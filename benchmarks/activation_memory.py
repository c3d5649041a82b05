"""Memory that a training step keeps for its backward pass, with and without computing blocks again.

By torch's profiler, on a CPU, in float32; random weights, one image.

    python benchmarks/activation_memory.py --hidden 1024 --blocks 24 --size 224
"""

import argparse

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import Dinov2Backbone, Dinov2Config

from minorkey.adapters import attach
from minorkey.models.build import backbone_of
from minorkey.models.modes import checkpoint_blocks
from minorkey.models.options import HeadOptions
from minorkey.tasks.segmentation.task import Segmentation


def kept_mb(model: torch.nn.Module, size: int) -> float:
    """Megabytes that a forward pass has taken and not given back, while its loss waits for the backward pass."""
    images, labels = torch.zeros(1, 3, size, size), torch.zeros(1, size, size, dtype=torch.int64)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        loss = model(pixel_values=images, labels=labels).loss
    assert loss.requires_grad
    return sum(event.self_cpu_memory_usage for event in profiler.key_averages()) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--blocks", type=int, default=24)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--method", default="soma")
    arguments = parser.parse_args()
    config = Dinov2Config(
        hidden_size=arguments.hidden, num_hidden_layers=arguments.blocks, num_attention_heads=arguments.hidden // 64,
        patch_size=16, image_size=arguments.size,
        out_features=[f"stage{round(arguments.blocks * i / 4)}" for i in (1, 2, 3, 4)],
    )  # fmt: skip
    model = Segmentation().build(Dinov2Backbone(config), HeadOptions(), 19, seed=0)
    attach(backbone_of(model), arguments.method)
    model.train()
    plain = kept_mb(model, arguments.size)
    checkpoint_blocks(model)
    again = kept_mb(model, arguments.size)
    print(f"kept {plain:.0f} MB, with gradient checkpointing {again:.0f} MB: {plain / again:.1f} times less")


if __name__ == "__main__":
    main()
