"""The training recipe of domain generalised segmentation: random scale, crop and flip, with labels.

Source: the augmentation of SoMA (arXiv 2412.04077). All functions are pure: what is random comes from the
generator that is passed in.
"""

from dataclasses import replace

import numpy as np
from PIL import Image

from minorkey.data.sample import Sample
from minorkey.data.transforms import CROP_TRIES, TransformConfig, Window, random_window, resize_window, scaled_size
from minorkey.labels import IGNORE_INDEX

LEAST_WANTED_SHARE = 1500 / 512**2
"""Of the pixels of a crop that is chosen for a class, those of that class: half of the 3000 pixels that DAFormer asks
of an image (arXiv 2111.14887), in its crop of 512 x 512."""


def train_transform(
    sample: Sample, config: TransformConfig, rng: np.random.Generator, wanted: int | None = None
) -> Sample:
    """One random crop of a sample, scaled and perhaps mirrored.

    The window is chosen first, so that only the pixels that it shows are resized.

    Args:
        sample: of any size.
        config: the recipe.
        rng: what is random.
        wanted: train id of a class that the crop should show.

    Returns:
        image (h, w, 3) and, where there were, labels (h, w), with (h, w) = `config.crop`, or less where the scaled
        image is smaller. Depth, boxes and crowd are dropped.
    """
    window, labels = choose_window(sample, config, rng, wanted)
    image = resize_window(sample.image, window)
    if rng.random() < config.flip:
        image = image[:, ::-1]
        labels = None if labels is None else labels[:, ::-1]
    return replace(sample, image=image, labels=labels, depth=None, boxes=None, box_classes=None, crowd=None)


def choose_window(
    sample: Sample, config: TransformConfig, rng: np.random.Generator, wanted: int | None = None
) -> tuple[Window, np.ndarray | None]:
    """A random window with its labels; tried again while one class covers too much of it, or `wanted` too little."""
    height, width = sample.image.shape[:2]
    scaled = scaled_size((height, width), rng.choice(config.scale_ratios) * min(config.crop), config.max_long_side)
    picture = None if sample.labels is None else Image.fromarray(sample.labels)
    for _ in range(CROP_TRIES):
        window = random_window((height, width), scaled, config.crop, rng)
        if picture is None:
            return window, None
        labels = np.asarray(picture.resize(window.size, Image.Resampling.NEAREST, window.box))
        if largest_class_share(labels) <= config.max_class_share and shows_enough(labels, wanted):
            break
    return window, labels


def largest_class_share(labels: np.ndarray) -> float:
    """The share of the most frequent class among the pixels that count, 1 where none counts."""
    counts = Image.fromarray(labels).histogram()[:IGNORE_INDEX]
    return max(counts) / sum(counts) if any(counts) else 1.0


def shows_enough(labels: np.ndarray, wanted: int | None) -> bool:
    """Whether a class covers `LEAST_WANTED_SHARE` of the labels; true where no class is wanted."""
    return wanted is None or bool((labels == wanted).mean() >= LEAST_WANTED_SHARE)
