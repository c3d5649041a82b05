"""The detections of one class in all images, the best first, and what became of each."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minorkey.tasks.detection.box_rows import Found, Truth, choose
from minorkey.tasks.detection.matching import COCO_THRESHOLDS, Outcome, Rule, match_coco, match_voc


class Ranking(NamedTuple):
    """D detections, and the objects that they could find."""

    images: NDArray[np.int64]  # (D,) place of the image of each
    outcome: Outcome  # (T, D)
    positives: NDArray[np.int64]  # (N,) objects to be found in each image


def rank(truth: Truth, found: Found, images: int, metric: Rule, most: int) -> Ranking:
    """Match the detections of one class in every image, then set them in one order.

    Among equal scores those of an earlier image come first, and in an image those that were given first.

    Args:
        truth: Objects of the class.
        found: Detections of the class.
        images: N.
        metric: By whose rules: `coco` with T = 10 thresholds, `voc` or `voc07` with one.
        most: The best so many of an image count, as in COCO; Pascal VOC counts all.
    """
    found = choose(found, np.lexsort((-found.scores, found.images)))
    if metric == "coco":
        found = choose(found, _place_in_image(found.images) < most)
    match, thresholds = (match_coco, len(COCO_THRESHOLDS)) if metric == "coco" else (match_voc, 1)
    hit, left_out = (np.zeros((thresholds, len(found.images)), dtype=np.bool) for _ in range(2))
    for image in np.unique(found.images):
        ours, theirs = (slice(*np.searchsorted(rows.images, [image, image + 1])) for rows in (found, truth))
        hit[:, ours], left_out[:, ours] = match(found.boxes[ours], truth.boxes[theirs], truth.crowd[theirs])
    order = np.argsort(-found.scores, kind="stable")
    positives = np.bincount(truth.images[~truth.crowd], minlength=images)
    return Ranking(found.images[order], Outcome(hit[:, order], left_out[:, order]), positives)


def _place_in_image(images: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many rows of the same image stand before each, `(D,)` to `(D,)`."""
    return np.arange(len(images)) - np.searchsorted(images, images)
