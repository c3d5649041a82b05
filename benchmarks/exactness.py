"""How far SoMA's start is from the pretrained network in float32, beside that network's own rounding.

    python benchmarks/exactness.py [--backbone NAME] [--image FILE]

For every feature map: its largest value; the largest difference that attaching the adapter makes; and the
floor, the largest difference between the untouched network in float32 and in float64. Once on the maps as they are
and once with normalised channels, as a head with a norm sees them.
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from minorkey.adapters import MethodOptions, attach
from minorkey.data.images import read_image
from minorkey.models.backbone import load_backbone
from minorkey.models.options import BackboneOptions
from minorkey.world import render

SIZE = 224  # pixels, at most; the top left corner of the image


def normalised(features: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(features.movedim(1, -1), features.shape[1:2])


def largest(difference: Tensor) -> float:
    return difference.abs().max().item()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="builtin", help="built-in, folder or hub id")
    parser.add_argument("--image", type=Path, help="default: a scene of the built-in world")
    args = parser.parse_args()
    torch.set_num_threads(1)
    image = read_image(args.image) if args.image else render(1, 0).image
    pixels = torch.from_numpy(np.ascontiguousarray(image[:SIZE, :SIZE])).permute(2, 0, 1)[None].float() / 127.5 - 1
    pretrained = load_backbone(BackboneOptions(name=args.backbone)).network
    adapted = copy.deepcopy(pretrained)
    attach(adapted, MethodOptions(name="soma"))
    exact = copy.deepcopy(pretrained).double()(pixels.double()).feature_maps
    print("| map | largest value | difference | floor | normalised difference | normalised floor |")
    print("|---:|---:|---:|---:|---:|---:|")
    maps = zip(adapted(pixels).feature_maps, pretrained(pixels).feature_maps, exact, strict=True)
    for i, (a, b, c) in enumerate(maps):
        raw = f"{largest(b):.0f} | {largest(a - b):.1e} | {largest(b - c):.1e}"
        a, b, c = normalised(a), normalised(b), normalised(c)
        print(f"| {i + 1} | {raw} | {largest(a - b):.1e} | {largest(b - c):.1e} |")


if __name__ == "__main__":
    main()
