"""Which detections of one class in one image are right: by the rules of COCO, or of Pascal VOC.

Boxes are `x0 y0 x1 y1` with `x1 y1` exclusive; detections come the best first. A detection is a hit, a false alarm, or
left out of the count because it found a region that does not count: a crowd (COCO) or a difficult object (VOC).

Sources: T.-Y. Lin et al., Microsoft COCO (arXiv 1405.0312) and its evaluation code; M. Everingham et al., The Pascal
Visual Object Classes (VOC) challenge (IJCV 2010), section 4.2, and its development kit.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minorkey.data.boxes import box_areas
from minorkey.tasks.detection.box_rows import Flags
from minorkey.tasks.evidence import Floats

Rule = Literal["coco", "voc", "voc07"]
"""By whose rules: of COCO, of Pascal VOC with all points of the curve, or of 2007 with 11."""

COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""The IoU from which on a detection may be a hit, `(10,)`."""
VOC_THRESHOLD = 0.5


class Outcome(NamedTuple):
    """What became of D detections at T thresholds; what is neither is a false alarm."""

    hit: Flags  # (T, D)
    left_out: Flags  # (T, D)


def box_overlap(boxes: NDArray, truth: NDArray, crowd: Flags) -> Floats:
    """IoU of detections `(D, 4)` with the truth `(G, 4)`; with a crowd `(G,)`, the share of the detection in it.

    Returns:
        `(D, G)` in `[0, 1]`.
    """
    boxes, truth = boxes.astype(np.float64), truth.astype(np.float64)
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    own = box_areas(boxes)[:, None]
    union = np.where(crowd, own, own + box_areas(truth) - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def match_coco(boxes: NDArray, truth: NDArray, crowd: Flags, thresholds: Floats = COCO_THRESHOLDS) -> Outcome:
    """Every detection takes the object of largest IoU that no better detection has; failing that, any crowd region.

    Args:
        boxes: Detections `(D, 4)`, the best first.
        truth: `(G, 4)`.
        crowd: `(G,)`; these can be found any number of times.
        thresholds: The IoU that is needed, `(T,)`.
    """
    overlap = box_overlap(boxes, truth, crowd)
    hit, left_out = (np.zeros((len(thresholds), len(boxes)), dtype=np.bool) for _ in range(2))
    objects, regions = np.flatnonzero(~crowd)[::-1], np.flatnonzero(crowd)  # backwards: of equal ones the last counts
    free = np.ones((len(thresholds), len(objects)), dtype=np.bool)
    needed = np.minimum(thresholds, 1 - 1e-10)  # of an IoU of 1 not more is asked than rounding leaves of it
    for place in np.flatnonzero(overlap.max(axis=1, initial=0) >= needed.min()):
        if len(objects):
            ious = np.where(free, overlap[place, objects], -1)
            best = ious.argmax(axis=1)
            hit[:, place] = ious.max(axis=1) >= needed
            rows = np.flatnonzero(hit[:, place])
            free[rows, best[rows]] = False
        left_out[:, place] = ~hit[:, place] & (overlap[place, regions].max(initial=0) >= needed)
    return Outcome(hit, left_out)


def match_voc(boxes: NDArray, truth: NDArray, difficult: Flags, threshold: float = VOC_THRESHOLD) -> Outcome:
    """Every detection points at the object of largest IoU; found a second time, an object makes it a false alarm.

    Args:
        boxes: Detections `(D, 4)`, the best first.
        truth: `(G, 4)`.
        difficult: `(G,)`.
        threshold: The IoU that is needed.

    Returns:
        With T = 1.
    """
    hit, left_out = (np.zeros((1, len(boxes)), dtype=np.bool) for _ in range(2))
    if not len(truth):
        return Outcome(hit, left_out)
    overlap = box_overlap(boxes, truth, np.zeros(len(truth), dtype=np.bool))
    best = overlap.argmax(axis=1)
    near = overlap.max(axis=1) >= threshold
    left_out[0] = near & difficult[best]
    right = np.flatnonzero(near & ~difficult[best])
    _, first = np.unique(best[right], return_index=True)
    hit[0, right[first]] = True
    return Outcome(hit, left_out)
