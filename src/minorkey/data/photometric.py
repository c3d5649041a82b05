"""Photometric distortion: brightness, contrast, saturation and hue, each changed with some probability.

Source: the data augmentation of SSD (Liu et al., ECCV 2016). What happens to an image is drawn where it is read;
the pixels are changed later, for a batch at a time and on its device.
"""

from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor


def ascending(values: tuple[float, float]) -> tuple[float, float]:
    """The range itself; a ValueError where it is none."""
    if not 0 <= values[0] <= values[1]:
        raise ValueError("expected a range [low, high] with 0 <= low <= high")
    return values


Range = Annotated[tuple[float, float], AfterValidator(ascending)]


class PhotometricConfig(BaseModel):
    """The ranges that the distortions are drawn from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: float = Field(default=0.5, ge=0, le=1)  # of each distortion
    brightness: float = Field(default=32, ge=0, le=255)  # grey levels added, from -brightness to brightness
    contrast: Range = (0.5, 1.5)  # factor
    saturation: Range = (0.5, 1.5)  # factor
    hue: float = Field(default=36, ge=0, le=180)  # degrees turned, from -hue to hue


class Distortion(NamedTuple):
    """What is done to one image; by default nothing."""

    brightness: float = 0.0  # added to all channels, in units of white
    contrast: float = 1.0  # factor on all channels
    saturation: float = 1.0  # factor
    hue: float = 0.0  # degrees
    contrast_last: float = 0.0  # 1: contrast follows the colours, 0: comes before them


def draw_distortion(config: PhotometricConfig, rng: np.random.Generator) -> Distortion:
    """A random distortion; how much is drawn from `rng` does not depend on the outcome."""
    brightness, contrast, saturation, hue = rng.random(4) < config.probability
    contrast_last = rng.random() < 0.5
    offset = rng.uniform(-config.brightness, config.brightness) / 255
    factor = rng.uniform(*config.contrast)
    colour_factor = rng.uniform(*config.saturation)
    degrees = rng.uniform(-config.hue, config.hue)
    return Distortion(
        brightness=offset if brightness else 0.0,
        contrast=factor if contrast else 1.0,
        saturation=colour_factor if saturation else 1.0,
        hue=degrees if hue else 0.0,
        contrast_last=float(contrast_last),
    )


def distort(images: Tensor, distortions: Tensor) -> Tensor:
    """Every image of a batch with its own distortion.

    Args:
        images: `(B, C, H, W)` float in [0, 1], RGB where C is 3; others have no saturation and hue to change.
        distortions: `(B, 5)`, a `Distortion` per row, on the device of the images.

    Returns:
        `(B, C, H, W)` in [0, 1]; values are clipped after every change, as they are where images are bytes, but
        not rounded.
    """
    brightness, contrast, saturation, hue, last = distortions.to(images)[..., None, None, None].unbind(1)
    contrast_first = torch.where(last > 0, 1, contrast)
    contrast_last = torch.where(last > 0, contrast, 1)
    images = (images + brightness).clamp(0, 1)
    images = (images * contrast_first).clamp(0, 1)
    if images.shape[1] == 3:
        images = change_colours(images, saturation, hue)
    return (images * contrast_last).clamp(0, 1)


def change_colours(images: Tensor, saturation: Tensor | float, degrees: Tensor | float) -> Tensor:
    """Images with their saturation in HSV scaled, and their hue turned.

    With value V = max(R, G, B), chroma C = V - min(R, G, B) and hue h in [0, 6), a channel of HSV is
    V - C clamp(min(k, 4 - k), 0, 1) with k = (n + h) mod 6 and n = 5, 3, 1 for red, green, blue. Saturation C / V
    is at most 1.

    Args:
        images: `(..., 3, H, W)` float, RGB in [0, 1].
        saturation: factor, broadcast to `(..., 1, H, W)`.
        degrees: turn of the hue, broadcast to `(..., 1, H, W)`.

    Returns:
        `(..., 3, H, W)`, in [0, 1].
    """
    value = images.amax(-3, keepdim=True)
    chroma = value - images.amin(-3, keepdim=True)
    hue = _hue(images, value, chroma) + degrees / 60
    n = 5 - 2 * torch.arange(3, device=images.device).view(3, 1, 1)
    k = (n + hue).remainder(6)
    return value - torch.minimum(chroma * saturation, value) * torch.minimum(k, 4 - k).clamp(0, 1)


def _hue(images: Tensor, value: Tensor, chroma: Tensor) -> Tensor:
    """`(..., 1, H, W)` in sixths of a turn, from -1 to 5; 0 where there is no colour."""
    red, green, blue = images.split(1, dim=-3)
    unit = chroma.clamp(min=torch.finfo(images.dtype).tiny)
    sector = torch.where(green == value, 2 + (blue - red) / unit, 4 + (red - green) / unit)
    return torch.where(red == value, (green - blue) / unit, sector)
