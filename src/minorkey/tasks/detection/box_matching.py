"""Which true box each detection of an image has hit: what the page marks. Scores come from `matching.py`."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minorkey.tasks.detection.matching import Flags, box_overlap

HIT_IOU = 0.5


class BoxMatches(NamedTuple):
    """What became of D detections and of G true boxes."""

    hits: NDArray[np.int64]  # (D,) place of the true box that was hit, or -1
    left_out: Flags  # (D,) in a region that does not count
    missed: Flags  # (G,)


def match_boxes(boxes: NDArray, classes: NDArray, truth: NDArray, truth_classes: NDArray, crowd: Flags) -> BoxMatches:
    """By the rules of COCO at an IoU of 0.5, for all classes at once.

    Args:
        boxes: Detections `(D, 4)`, the best first.
        classes: `(D,)`.
        truth: `(G, 4)`.
        truth_classes: `(G,)`.
        crowd: `(G,)`.
    """
    overlap = box_overlap(boxes, truth, crowd) * (classes[:, None] == truth_classes)
    hits, free = np.full(len(boxes), -1, np.int64), ~crowd
    for place in range(len(boxes)):
        ious = np.where(free, overlap[place], 0)
        if ious.max(initial=0) >= HIT_IOU:
            hits[place] = ious.argmax()
            free[hits[place]] = False
    return BoxMatches(hits, (hits < 0) & (overlap[:, crowd] >= HIT_IOU).any(axis=1), free)
