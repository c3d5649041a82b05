"""Random resized crops, as DomainBed trains on (Gulrajani and Lopez-Paz, arXiv 2007.01434); colours come later."""

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
from PIL import Image

from minorkey.data.sample import Sample
from minorkey.data.transforms import CROP_TRIES, TransformConfig, Window, resize_window

ASPECT = (3 / 4, 4 / 3)
"""Ratios of width to height that crops are drawn from, evenly in their logarithm, as in GoogLeNet (arXiv 1409.4842)."""


LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Of ITU-R 601, which Pillow takes for bytes."""


def category_transform(sample: Sample, config: TransformConfig, rng: np.random.Generator) -> Sample:
    """A random part of an image in the size of the crop, perhaps mirrored, perhaps grey.

    Returns:
        image (h, w, 3) with (h, w) = `config.crop`, and the class; other annotations are dropped.
    """
    height, width = config.crop
    box = random_box(sample.image.shape[:2], config.crop_area, rng)
    image = resize_window(sample.image, Window((width, height), box))
    if rng.random() < config.flip:
        image = image[:, ::-1]
    if rng.random() < config.grey:
        image = _without_colours(image)
    return replace(sample, image=image, labels=None, depth=None, boxes=None, box_classes=None, crowd=None)


def _without_colours(image: np.ndarray) -> np.ndarray:
    """The luma of an RGB image in all channels; others have no colours, and stay."""
    if image.shape[2] != 3:
        return image
    if image.dtype == np.uint8:
        return np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., None], 3, axis=2)
    return np.repeat((image @ LUMA)[..., None], 3, axis=2)


def random_box(
    size: tuple[int, int], area: tuple[float, float], rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Edges x0 y0 x1 y1 of a part of an image that covers a share of it, or of all of it where none was found.

    Args:
        size: height and width of the image.
        area: least and largest share.
        rng: what is random.
    """
    height, width = size
    for _ in range(CROP_TRIES):
        pixels = height * width * rng.uniform(*area)
        aspect = exp(rng.uniform(log(ASPECT[0]), log(ASPECT[1])))
        w, h = round(sqrt(pixels * aspect)), round(sqrt(pixels / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    return 0, 0, width, height
