"""Label images in the data check."""

import numpy as np
from PIL import Image

from minorkey.data.sample import Sample
from minorkey.labels import LabelSpace, colourise
from minorkey.tasks.counted import Counted
from minorkey.tasks.pictures import resized

OPACITY = 0.55

COUNTED = Counted(
    things="pixels",
    by_share=True,
    title="Share of the labelled pixels, %",
    empty="have labels without a class",
    lead="Ignored pixels belong to no class of the label space; they are neither trained nor judged on.",
    pictures="labels below. Ignored pixels are dark.",
)


def draw_labels(sample: Sample, image: np.ndarray, space: LabelSpace) -> np.ndarray | None:
    """The labels of a sample over its smaller image; None without any."""
    if sample.labels is None:
        return None
    return overlay(image, resized(sample.labels, image.shape[1], Image.Resampling.NEAREST), space)


def overlay(image: np.ndarray, labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """An image in grey under the colours of its classes; ignored pixels are darkened.

    Args:
        image: `(H, W, 3)` uint8.
        labels: `(H, W)` uint8 train ids.
        space: gives the colours.

    Returns:
        `(H, W, 3)` uint8.
    """
    grey = image.mean(axis=-1, keepdims=True)
    colours = colourise(labels, space)
    return ((1 - OPACITY) * grey + OPACITY * colours).round().astype(np.uint8)
