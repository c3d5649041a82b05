"""Confusion matrices and the scores read off them. Rows are the truth, columns the prediction.

A class that occurs neither in the truth nor in the prediction has no IoU (NaN) and is left out of the mean. One that is
predicted, but nowhere in the truth, has IoU 0, as in the evaluation of Cityscapes (cityscapesScripts,
`getIouScoreForLabel`: TP / (TP + FP + FN), no number where the denominator is 0) and in mmsegmentation. To `skip` it as
well is the other reading: then a small domain is not judged by one stray pixel of a class that it does not have, but
its scores are no longer those of the public tools. Accuracies are shares of the true pixels of a class, so they leave
out all that the truth does not show.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minorkey.errors import DataError
from minorkey.labels import IGNORE_INDEX
from minorkey.tasks.evidence import Floats, mean_present, ratio
from minorkey.tasks.protocol import Absent

Matrix = NDArray[np.int64]

IDS = 256
"""Ids of labels and predictions are bytes."""


def confusion_matrix(prediction: NDArray | Tensor, truth: NDArray, num_classes: int) -> Matrix:
    """Count the pixels of one image by true and predicted class, where the prediction lies.

    Args:
        prediction: Class ids, `(H, W)` integers in `[0, K)`, on any device.
        truth: Class ids, `(H, W)` integers in `[0, K)`, or 255 where the pixel does not count.
        num_classes: K.

    Returns:
        `(K, K)` int64.

    Raises:
        DataError: The sizes differ, or an id is outside the label space.
    """
    if tuple(prediction.shape) != truth.shape:
        raise DataError(f"prediction of size {tuple(prediction.shape)} for labels of size {truth.shape}; resize one")
    found = torch.as_tensor(prediction)
    pairs = torch.as_tensor(truth).to(found.device).int() * IDS + found
    counts = torch.bincount(pairs.flatten(), minlength=IDS**2).cpu().numpy().reshape(-1, IDS)
    counts[IGNORE_INDEX] = 0
    highest = max((int(ids.max(initial=0)) for ids in counts.nonzero()), default=0)
    if highest >= num_classes:
        raise DataError(f"class id {highest} in a label space of {num_classes} classes; map it or ignore it")
    return counts[:num_classes, :num_classes].copy()


def iou(confusion: Matrix, absent: Absent = "zero") -> Floats:
    """Intersection over union per class, `(..., K, K)` to `(..., K)` in `[0, 1]`; NaN where it has none."""
    return iou_from_counts(_hits(confusion), confusion.sum(-1), confusion.sum(-2), absent)


def iou_from_counts(hits: NDArray, truth: NDArray, predicted: NDArray, absent: Absent = "zero") -> Floats:
    """IoU from pixels per class, each `(..., K)`: hit, true and predicted; NaN where a class has none.

    >>> iou_from_counts(*np.array([[4, 0, 0], [5, 0, 0], [4, 0, 1]])).tolist()
    [0.8, nan, 0.0]
    >>> iou_from_counts(*np.array([[4, 0, 0], [5, 0, 0], [4, 0, 1]]), absent="skip").tolist()
    [0.8, nan, nan]
    """
    union = truth + predicted - hits
    return ratio(hits, union, present=(union if absent == "zero" else truth) > 0)


def class_accuracy(confusion: Matrix) -> Floats:
    """Share of each class's pixels that are found, `(..., K, K)` to `(..., K)`; NaN for an absent class."""
    truth = confusion.sum(-1)
    return ratio(_hits(confusion), truth, present=truth > 0)


def mean_iou(confusion: Matrix, absent: Absent = "zero") -> float:
    """Mean IoU over the classes that have one; NaN if none has."""
    return float(mean_present(iou(confusion, absent)))


def mean_accuracy(confusion: Matrix) -> float:
    """Mean class accuracy over the classes that occur in the truth; NaN if none does."""
    return float(mean_present(class_accuracy(confusion)))


def pixel_accuracy(confusion: Matrix) -> float:
    """Share of all counted pixels whose class is right; NaN if no pixel counts."""
    total = confusion.sum()
    return float(_hits(confusion).sum() / total) if total else float("nan")


def _hits(confusion: Matrix) -> Matrix:
    return np.diagonal(confusion, axis1=-2, axis2=-1)
