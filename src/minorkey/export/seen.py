"""What a network sees of a real image: the input that an export is compared on, and the size that it is written for."""

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from minorkey.errors import ConfigError, MinorkeyError
from minorkey.export.deploy_options import DeployOptions
from minorkey.export.trained import Trained
from minorkey.runs.assemble import open_judged
from minorkey.tasks.deployed import Deployed, Size
from minorkey.world import render

QUIET = Console(quiet=True)


def real_image(trained: Trained) -> np.ndarray:
    """An image that the run is judged on, (H, W, 3) uint8; where its data are elsewhere, one of the built-in world."""
    try:
        domain = open_judged(trained.config, trained.predictor.space, QUIET)[0]
        return domain.reader[domain.indices()[0]].image
    except (MinorkeyError, IndexError):
        height, width = trained.config.transform.crop
        size = min(height, 2048), min(width, 2048)
        return render(0, 0, "clear", size=(size[1], size[0])).image


def size_asked(trained: Trained, options: DeployOptions) -> Size | None:
    """The size that a file is asked to take.

    Raises:
        ConfigError: the run brings every image to another one.
    """
    only = trained.predictor.protocol.input_size
    if options.size is not None and only not in (None, options.size):
        asked, taken = ("x".join(map(str, size)) for size in (options.size, only))
        raise ConfigError(f"--size is {asked}, but this run brings every image to {taken}; leave it out")
    return options.size


def in_size(images: Tensor, deployed: Deployed, size: Size | None) -> Tensor:
    """Two images for the graph: the first of those given and its mirror image, in a size that it takes."""
    unit = deployed.multiple
    size = size or (images.shape[-2], images.shape[-1])
    size = (-(-size[0] // unit) * unit, -(-size[1] // unit) * unit)
    first = images[:1].float().cpu().clone()  # out of the inference mode that it was made in
    if first.shape[-2:] != torch.Size(size):
        first = F.interpolate(first, size=size, mode="bilinear", align_corners=False)
    return torch.cat([first, first.flip(-1)])


def no_larger(images: Tensor, size: Size | None) -> Tensor:
    """Images `(B, C, H, W)`, made smaller where they do not fit into the size of a file."""
    scale = min(s / side for s, side in zip(size, images.shape[-2:], strict=True)) if size else 1.0
    if scale >= 1:
        return images
    smaller = tuple(max(1, int(side * scale)) for side in images.shape[-2:])
    return F.interpolate(images, size=smaller, mode="bilinear", align_corners=False, antialias=True)


def other_size(images: Tensor, deployed: Deployed) -> Tensor:
    """One image of sides that those of the graph's own input have nothing in common with."""
    unit = deployed.multiple
    height, width = images.shape[-2] + 3 * unit, images.shape[-1] + unit
    return F.interpolate(images[:1], size=(height, width), mode="bilinear", align_corners=False)
