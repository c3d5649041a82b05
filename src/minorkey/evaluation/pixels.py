"""Evidence of segmentation: a confusion matrix per image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from minorkey.evaluation.confusion import (
    Matrix,
    class_accuracy,
    iou,
    iou_from_counts,
    mean_accuracy,
    mean_iou,
    mean_present,
    pixel_accuracy,
)
from minorkey.evaluation.evidence import Floats


@dataclass(frozen=True)
class PixelEvidence:
    """Confusion matrices of the images of one domain; the score is the mIoU of their sum."""

    matrices: Matrix  # (N, K, K), rows are the truth
    unit: ClassVar[str] = "pixel"

    @property
    def shape(self) -> tuple[int, int]:
        """Images and classes, `(N, K)`."""
        return self.matrices.shape[0], self.matrices.shape[1]

    @property
    def total(self) -> Matrix:
        """The matrix of all images, `(K, K)`."""
        return self.matrices.sum(axis=0)

    def score(self) -> float:
        """mIoU over the classes that occur in the truth; NaN if none does."""
        return mean_iou(self.total)

    def scores(self, draws: NDArray[np.int64]) -> Floats:
        """mIoU of every resample, `(R, N)` to `(R,)`; a class that a resample misses is left out of its mean."""
        per_image = np.diagonal(self.matrices, axis1=1, axis2=2), self.matrices.sum(2), self.matrices.sum(1)
        # float64 goes through BLAS and is exact here: pixel counts stay far below 2**53
        hits, truth, predicted = (draws.astype(np.float64) @ counts.astype(np.float64) for counts in per_image)
        return mean_present(iou_from_counts(hits, truth, predicted))

    def by_class(self) -> Floats:
        """IoU of each class, `(K,)`."""
        return iou(self.total)

    def details(self) -> dict[str, float]:
        """Mean accuracy of the classes, and the share of all pixels that are right."""
        return {"mean accuracy": mean_accuracy(self.total), "pixel accuracy": pixel_accuracy(self.total)}

    def class_details(self) -> dict[str, Floats]:
        """The share of each class's pixels that are found, `(K,)`."""
        return {"accuracy": class_accuracy(self.total)}

    def only(self, keep: NDArray[np.bool]) -> "PixelEvidence":
        """Ignore the pixels whose true class `keep` `(K,)` leaves out."""
        return PixelEvidence(self.matrices * keep[:, None])

    def stored(self, domain: str) -> dict[str, NDArray]:
        """The matrices under the name of their domain."""
        return {domain: self.matrices}

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray]) -> "dict[str, PixelEvidence]":
        """Inverse of `stored`, for all domains of a file."""
        return {domain: cls(matrices) for domain, matrices in arrays.items()}
