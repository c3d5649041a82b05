"""The training recipe of object detection: large-scale jitter, crop and flip, with boxes that follow the pixels.

Source: large-scale jitter of Ghiasi et al. (arXiv 2012.07177), as SoMA's detection recipe uses it (arXiv 2412.04077).
Ours: boxes of which a crop shows next to nothing are dropped, and a crop that lost every object is drawn again. As in
`transforms.py`, the window is chosen first, so that only the pixels that it shows are resized.
"""

from dataclasses import replace

import numpy as np

from minorkey.data.boxes import box_areas, box_sides, clip_boxes
from minorkey.data.sample import Sample
from minorkey.data.transforms import CROP_TRIES, TransformConfig, Window, random_window, resize_window, scaled_size

LEAST_VISIBLE_SHARE = 0.1
"""Of the area of a box, what a crop must show of it for the box to be kept."""
LEAST_SIDE = 1.0
"""Pixels of the crop that a box must be wide and high to be kept."""


def box_transform(sample: Sample, config: TransformConfig, rng: np.random.Generator) -> Sample:
    """One random crop of a sample with its boxes, scaled and perhaps mirrored.

    Args:
        sample: of any size, with or without boxes; those that the crop does not show are dropped, others clipped.
        config: the recipe.
        rng: what is random.

    Returns:
        image (h, w, 3) with (h, w) = `config.crop`, or less where the scaled image is smaller; boxes, classes and
        crowd of the rows that were kept. Where the sample has objects, up to `CROP_TRIES` crops are drawn until one
        shows some; an image of background is the outcome when none does. Labels and depth are dropped.
    """
    size = sample.image.shape[:2]
    scaled = _draw_size(size, config, rng)
    for _ in range(CROP_TRIES):
        window = random_window(size, scaled, config.crop, rng)
        shown = _seen_through(sample, window)
        if _objects(shown) or not _objects(sample):
            break
    shown = replace(shown, image=resize_window(sample.image, window), labels=None, depth=None)
    return mirror(shown) if rng.random() < config.flip else shown


def mirror(sample: Sample) -> Sample:
    """Image and boxes of a sample, left and right exchanged."""
    image, boxes = sample.image[:, ::-1], sample.boxes
    if boxes is not None:
        width = image.shape[1]
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    return replace(sample, image=image, boxes=boxes)


def boxes_in(boxes: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Boxes as they stand in a window, and which of them it shows enough of.

    Args:
        boxes: `(N, 4)` x0 y0 x1 y1 in pixels of the original image.
        window: a part of the image.

    Returns:
        `(N, 4)` float32 in pixels of the window, clipped to it; `(N,)` bool, false where less than
        `LEAST_VISIBLE_SHARE` of the area is left, or a side is below `LEAST_SIDE`.
    """
    (width, height), (left, top, right, bottom) = window.size, window.box
    scale = np.array([width / (right - left), height / (bottom - top)] * 2)
    whole = (boxes - np.array([left, top] * 2)) * scale
    clipped = clip_boxes(whole, width, height)
    kept = (box_areas(clipped) >= LEAST_VISIBLE_SHARE * box_areas(whole)) & (box_sides(clipped) >= LEAST_SIDE).all(1)
    return clipped.astype(np.float32), kept


def _draw_size(size: tuple[int, int], config: TransformConfig, rng: np.random.Generator) -> tuple[int, int]:
    """Height and width that an image of `size` is scaled to."""
    if config.scale_jitter is None:
        short = float(rng.choice(config.scale_ratios)) * min(config.crop)
    else:
        fitting = min(limit / side for limit, side in zip(config.crop, size, strict=True))
        short = rng.uniform(*config.scale_jitter) * fitting * min(size)
    return scaled_size(size, short, config.max_long_side)


def _seen_through(sample: Sample, window: Window) -> Sample:
    """The sample with those of its boxes that a window shows; its image is as it was."""
    if sample.boxes is None:
        return sample
    assert sample.box_classes is not None
    assert sample.crowd is not None
    boxes, kept = boxes_in(sample.boxes, window)
    return replace(sample, boxes=boxes[kept], box_classes=sample.box_classes[kept], crowd=sample.crowd[kept])


def _objects(sample: Sample) -> int:
    """How many boxes there are to learn from: a crowd is none."""
    return 0 if sample.crowd is None else int((~sample.crowd).sum())
