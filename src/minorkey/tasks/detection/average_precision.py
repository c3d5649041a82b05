"""Average precision of one class, for many draws of the images at once.

Precision is the share of the detections so far that are hits, recall the share of the objects found so far. Average
precision is the mean over recall levels of the best precision at that recall or a higher one: 101 levels in COCO, 11 in
Pascal VOC 2007, all of them, that is the area under the curve, in Pascal VOC since 2010.

An image drawn twice counts twice. Only the hits matter, for the best precision at a recall is always that of a hit.
"""

import numpy as np
from numpy.typing import NDArray

from minorkey.tasks.detection.box_rows import Flags
from minorkey.tasks.detection.matching import Outcome, Rule
from minorkey.tasks.evidence import Floats

RECALL_LEVELS: dict[Rule, Floats] = {
    "coco": np.linspace(0, 1, 101),  # not i / 100, which differs by rounding; this is what COCO's code compares with
    "voc07": np.arange(11) / 10,
}


def average_precision(
    outcome: Outcome, weights: NDArray[np.int64], positives: NDArray[np.int64], metric: Rule
) -> Floats:
    """Average precision of one class for R draws of the images, averaged over the T thresholds of `outcome`.

    Args:
        outcome: What became of the D detections in all images, `(T, D)`, the best first.
        weights: How often the image of each detection was drawn, `(R, D)`.
        positives: Objects to be found in the images drawn, `(R,)`.
        metric: Which recall levels are averaged over: coco, voc or voc07.

    Returns:
        `(R,)` in `[0, 1]`; NaN where there was nothing to be found.
    """
    seen = np.cumsum(weights, axis=1)
    each = [_area(*_curve(h, o, weights, seen, positives), metric) for h, o in zip(*outcome, strict=True)]
    return np.where(positives > 0, np.mean(each, axis=0), np.nan)


def _curve(hit: Flags, left_out: Flags, weights: NDArray, seen: NDArray, positives: NDArray) -> tuple[Floats, Floats]:
    """Precision and recall, `(R, M)` each, after each of the M detections that are a hit or left out."""
    places = np.flatnonzero(hit | left_out)
    found = np.cumsum(weights[:, places] * hit[places], axis=1)
    counted = seen[:, places] - np.cumsum(weights[:, places] * left_out[places], axis=1)
    return found / np.maximum(counted, 1), found / np.maximum(positives, 1)[:, None]


def _area(precision: Floats, recall: Floats, metric: Rule) -> Floats:
    """Mean over the recall levels of the best precision from there on, `(R, M)` to `(R,)`."""
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return (best * np.diff(_levels_reached(recall, metric), axis=1, prepend=0)).sum(axis=1)


def _levels_reached(recall: Floats, metric: Rule) -> Floats:
    """The share of the recall levels that are not above `recall`."""
    levels = RECALL_LEVELS.get(metric)
    return recall if levels is None else np.searchsorted(levels, recall, side="right") / len(levels)
