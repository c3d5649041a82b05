"""Photometric distortion: brightness, contrast, saturation and hue, each changed with some probability.

Source: the data augmentation of SSD (Liu et al., ECCV 2016). Contrast comes before or after the colours, at
random.
"""

from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _ascending(values: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= values[0] <= values[1]:
        raise ValueError("expected a range [low, high] with 0 <= low <= high")
    return values


Range = Annotated[tuple[float, float], AfterValidator(_ascending)]


class PhotometricConfig(BaseModel):
    """The ranges that the distortions are drawn from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: float = Field(default=0.5, ge=0, le=1)  # of each distortion
    brightness: float = Field(default=32, ge=0, le=255)  # grey levels added, from -brightness to brightness
    contrast: Range = (0.5, 1.5)  # factor
    saturation: Range = (0.5, 1.5)  # factor
    hue: float = Field(default=36, ge=0, le=180)  # degrees turned, from -hue to hue


def distort(image: np.ndarray, config: PhotometricConfig, rng: np.random.Generator) -> np.ndarray:
    """An image (H, W, 3) uint8, distorted at random."""
    brightness, contrast, saturation, hue = rng.random(4) < config.probability
    contrast_last = rng.random() < 0.5
    offset = rng.uniform(-config.brightness, config.brightness)
    factor = rng.uniform(*config.contrast)
    colour_factor = rng.uniform(*config.saturation)
    degrees = rng.uniform(-config.hue, config.hue)
    if brightness:
        image = change_tones(image, 1, offset)
    if contrast and not contrast_last:
        image = change_tones(image, factor, 0)
    if saturation or hue:
        image = change_colours(image, colour_factor if saturation else 1, degrees if hue else 0)
    if contrast and contrast_last:
        image = change_tones(image, factor, 0)
    return image


def change_tones(image: np.ndarray, factor: float, offset: float) -> np.ndarray:
    """An image (..., 3) uint8 with its grey levels v turned to v * factor + offset, clipped to 0 and 255."""
    table = (np.arange(256) * factor + offset).clip(0, 255).round().astype(np.uint8)
    return table[image]


def change_colours(image: np.ndarray, factor: float, degrees: float) -> np.ndarray:
    """An image (H, W, 3) uint8 with its HSV saturation times `factor` and its hue turned by `degrees`."""
    levels = np.arange(256)
    turned = ((levels + round(degrees * 256 / 360)) % 256).astype(np.uint8)
    saturated = (levels * factor).clip(0, 255).round().astype(np.uint8)
    hsv = Image.fromarray(np.ascontiguousarray(image)).convert("HSV")
    table = np.concatenate([turned, saturated, levels.astype(np.uint8)])
    return np.asarray(hsv.point(table.tolist()).convert("RGB"))
