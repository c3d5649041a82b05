"""The training recipe of domain generalised segmentation: random scale, crop, flip, photometric distortion.

Source: the augmentation of SoMA (arXiv 2412.04077). All functions are pure: what is random comes from the
generator that is passed in.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, PositiveInt

from minorkey.data.photometric import PhotometricConfig, distort
from minorkey.data.sample import IGNORE_INDEX, Sample

CROP_TRIES = 10
PAD_COLOUR = (124, 116, 104)
"""The mean of ImageNet: about 0 once normalised."""


def _switch(value: object) -> object:
    """`true` stands for the default ranges, `false` for none."""
    return {True: PhotometricConfig(), False: None}[value] if isinstance(value, bool) else value


class TransformConfig(BaseModel):
    """The training recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: tuple[PositiveInt, PositiveInt] = (512, 512)  # height, width
    scale_ratios: tuple[PositiveFloat, ...] = Field(
        default=tuple(step / 10 for step in range(5, 21)), min_length=1
    )  # short side of the image over short side of the crop, one is drawn
    max_class_share: float = Field(default=0.75, gt=0, le=1)  # no class covers more of a crop
    flip: float = Field(default=0.5, ge=0, le=1)  # probability
    photometric: Annotated[PhotometricConfig | None, BeforeValidator(_switch)] = PhotometricConfig()


@dataclass(frozen=True)
class Window:
    """A crop of the scaled image, with the part of the original image that it shows."""

    size: tuple[int, int]  # width, height after scaling
    box: tuple[float, float, float, float]  # x0 y0 x1 y1 in pixels of the original image


def train_transform(sample: Sample, config: TransformConfig, rng: np.random.Generator) -> Sample:
    """One augmented crop of a sample.

    The window is chosen first, so that only the pixels that it shows are resized.

    Returns:
        image (h, w, 3) and, where there were, labels (h, w), with (h, w) = `config.crop`. Depth and boxes are
        dropped.
    """
    window, labels = _choose_window(sample, config, rng)
    image = np.asarray(Image.fromarray(sample.image).resize(window.size, Image.Resampling.BILINEAR, window.box))
    if rng.random() < config.flip:
        image = image[:, ::-1]
        labels = None if labels is None else labels[:, ::-1]
    if config.photometric is not None:
        image = distort(image, config.photometric, rng)
    return replace(
        sample,
        image=_pad(image, config.crop, PAD_COLOUR),
        labels=None if labels is None else _pad(labels, config.crop, IGNORE_INDEX),
        depth=None,
        boxes=None,
        box_classes=None,
    )


def largest_class_share(labels: np.ndarray) -> float:
    """The share of the most frequent class among the pixels that count, 1 where none counts."""
    counts = np.bincount(labels.ravel(), minlength=256)[:IGNORE_INDEX]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


def to_tensor(image: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """An image (H, W, 3) uint8 as a tensor (3, H, W) float32: scaled to [0, 1], less `mean`, over `std`."""
    channels = torch.from_numpy(np.array(image.transpose(2, 0, 1), np.float32, order="C")).div_(255)
    shift, scale = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    return channels.sub_(shift).div_(scale)


def _choose_window(
    sample: Sample, config: TransformConfig, rng: np.random.Generator
) -> tuple[Window, np.ndarray | None]:
    """A random window with its labels; tried again while one class covers too much of it."""
    height, width = sample.image.shape[:2]
    scale = rng.choice(config.scale_ratios) * min(config.crop) / min(height, width)
    scaled = (max(1, round(height * scale)), max(1, round(width * scale)))
    for _ in range(CROP_TRIES):
        window = _random_window((height, width), scaled, config.crop, rng)
        if sample.labels is None:
            return window, None
        picture = Image.fromarray(sample.labels)
        labels = np.asarray(picture.resize(window.size, Image.Resampling.NEAREST, window.box))
        if largest_class_share(labels) <= config.max_class_share:
            break
    return window, labels


def _random_window(
    original: tuple[int, int], scaled: tuple[int, int], crop: tuple[int, int], rng: np.random.Generator
) -> Window:
    """A window of at most `crop`, anywhere in the scaled image; all sizes are (height, width)."""
    height, width = (min(pair) for pair in zip(scaled, crop, strict=True))
    top, left = int(rng.integers(scaled[0] - height + 1)), int(rng.integers(scaled[1] - width + 1))
    y, x = original[0] / scaled[0], original[1] / scaled[1]
    box = (left * x, top * y, min((left + width) * x, original[1]), min((top + height) * y, original[0]))
    return Window((width, height), box)


def _pad(array: np.ndarray, size: tuple[int, int], value: int | tuple[int, int, int]) -> np.ndarray:
    """`array` (H, W, ...) at the top left of a canvas of `size` (height, width) filled with `value`."""
    if array.shape[:2] == size:
        return array
    canvas = np.empty((*size, *array.shape[2:]), array.dtype)
    canvas[:] = value
    canvas[: array.shape[0], : array.shape[1]] = array
    return canvas
