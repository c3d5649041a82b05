"""Confusion matrices and the scores read off them. Rows are the truth, columns the prediction.

A class that never occurs in the truth has no IoU and no accuracy here (NaN) and is left out of the means.
Predicting such a class still costs: the pixel is missed by the class it belongs to.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minorkey.errors import DataError
from minorkey.labels import IGNORE_INDEX
from minorkey.tasks.evidence import Floats, mean_present, ratio

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


def iou(confusion: Matrix) -> Floats:
    """Intersection over union per class, `(..., K, K)` to `(..., K)` in `[0, 1]`; NaN for an absent class."""
    return iou_from_counts(_hits(confusion), confusion.sum(-1), confusion.sum(-2))


def iou_from_counts(hits: NDArray, truth: NDArray, predicted: NDArray) -> Floats:
    """IoU from pixels per class, each `(..., K)`: hit, true and predicted; NaN for an absent class."""
    return ratio(hits, truth + predicted - hits, present=truth > 0)


def class_accuracy(confusion: Matrix) -> Floats:
    """Share of each class's pixels that are found, `(..., K, K)` to `(..., K)`; NaN for an absent class."""
    truth = confusion.sum(-1)
    return ratio(_hits(confusion), truth, present=truth > 0)


def mean_iou(confusion: Matrix) -> float:
    """Mean IoU over the classes that occur in the truth; NaN if none does."""
    return float(mean_present(iou(confusion)))


def mean_accuracy(confusion: Matrix) -> float:
    """Mean class accuracy over the classes that occur in the truth; NaN if none does."""
    return float(mean_present(class_accuracy(confusion)))


def pixel_accuracy(confusion: Matrix) -> float:
    """Share of all counted pixels whose class is right; NaN if no pixel counts."""
    total = confusion.sum()
    return float(_hits(confusion).sum() / total) if total else float("nan")


def _hits(confusion: Matrix) -> Matrix:
    return np.diagonal(confusion, axis1=-2, axis2=-1)
