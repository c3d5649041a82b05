"""Evidence of segmentation: which classes were taken for which in every image, and how often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from minorkey.tasks.evidence import Floats, by_domain, mean_present
from minorkey.tasks.protocol import Absent
from minorkey.tasks.segmentation.confusion import (
    Matrix,
    class_accuracy,
    iou_from_counts,
    mean_accuracy,
    pixel_accuracy,
)

Cells = tuple[NDArray[np.int32], NDArray[np.int32]]
"""The cells of an image's confusion matrix that are not 0, as `true * K + predicted`, and their pixels."""

ACCURACY = "accuracy"
"""Of a class: the share of its pixels that are found."""


@dataclass(frozen=True)
class PixelEvidence:
    """Confusion matrices of the images of one domain; the score is the mIoU of their sum.

    An image shows few of many classes, so the M cells that are not 0 are kept, not N matrices of K x K: 100 000 images
    of 150 classes take some 0.2 GB in place of 18.
    """

    size: tuple[int, int]  # images and classes, (N, K)
    images: NDArray[np.int32]  # (M,) place of the image, ascending
    cells: NDArray[np.int32]  # (M,) true class * K + predicted class
    pixels: NDArray[np.int32]  # (M,)
    absent: Absent = "zero"  # what a class counts that is only predicted
    scored: NDArray[np.bool] | None = None  # (K,), the classes whose true pixels count; None: all
    unit: ClassVar[str] = "pixel"

    @classmethod
    def of(cls, notes: Sequence[Cells], num_classes: int, absent: Absent = "zero") -> Self:
        """The cells of N images."""
        places = np.repeat(np.arange(len(notes), dtype=np.int32), [len(cells) for cells, _ in notes])
        cells, pixels = (np.concatenate(columns) for columns in zip(*notes, strict=True))
        return cls((len(notes), num_classes), places, cells, pixels, absent)

    @classmethod
    def of_matrices(cls, matrices: Matrix, absent: Absent = "zero") -> Self:
        """The same of matrices `(N, K, K)`, rows being the truth."""
        return cls.of([cells_of(matrix) for matrix in matrices], matrices.shape[1], absent)

    @property
    def shape(self) -> tuple[int, int]:
        """Images and classes, `(N, K)`."""
        return self.size

    @property
    def matrices(self) -> Matrix:
        """A confusion matrix for each image, `(N, K, K)`, rows being the truth: `8 N K^2` bytes."""
        images, classes = self.size
        matrices = np.zeros((images, classes**2), np.int64)
        matrices[self.images, self.cells] = self.pixels
        return matrices.reshape(images, classes, classes)

    @cached_property
    def total(self) -> Matrix:
        """The matrix of all images, `(K, K)`."""
        classes = self.size[1]
        # Sums in float64 are exact here and below: pixel counts stay far below 2**53.
        return np.bincount(self.cells, self.pixels, classes**2).astype(np.int64).reshape(classes, classes)

    def score(self) -> float:
        """mIoU over the classes that have one; NaN if none has."""
        return float(mean_present(self.by_class()))

    def scores(self, draws: NDArray[np.int64]) -> Floats:
        """mIoU of every resample, `(R, N)` to `(R,)`; a class that a resample misses is left out of its mean."""
        weights = draws.astype(np.float64)  # float64 goes through BLAS
        hits, truth, predicted = (weights @ counts for counts in self._per_image)
        missed = (truth == 0) & (self.total.sum(1) > 0)  # pixels taken for it would count 0, whatever `absent` is
        return mean_present(np.where(missed, np.nan, self._iou(hits, truth, predicted)))

    def _iou(self, hits: NDArray, truth: NDArray, predicted: NDArray) -> Floats:
        """As `iou_from_counts`, of the classes that are scored."""
        found = iou_from_counts(hits, truth, predicted, self.absent)
        return found if self.scored is None else np.where(self.scored, found, np.nan)

    @cached_property
    def _per_image(self) -> list[Floats]:
        """Pixels hit, true and predicted, `(N, K)` each."""
        images, classes = self.size
        truth, predicted = np.divmod(self.cells, classes)
        rows = self.images.astype(np.int64) * classes
        hit = truth == predicted
        places = (
            (rows[hit] + truth[hit], self.pixels[hit]),
            (rows + truth, self.pixels),
            (rows + predicted, self.pixels),
        )
        counts = [np.bincount(at, weights, images * classes) for at, weights in places]
        return [each.astype(np.float64).reshape(self.size) for each in counts]

    def by_class(self) -> Floats:
        """IoU of each class, `(K,)`."""
        return self._iou(np.diagonal(self.total), self.total.sum(1), self.total.sum(0))

    def details(self) -> dict[str, float]:
        """Mean accuracy of the classes, and the share of all pixels that are right."""
        return {"mean accuracy": mean_accuracy(self.total), "pixel accuracy": pixel_accuracy(self.total)}

    def class_details(self) -> dict[str, Floats]:
        """The share of each class's pixels that are found, `(K,)`."""
        return {ACCURACY: class_accuracy(self.total)}

    def only(self, keep: NDArray[np.bool]) -> "PixelEvidence":
        """Ignore the pixels whose true class `keep` `(K,)` leaves out; such a class has no score."""
        kept = keep[self.cells // self.size[1]]
        scored = keep if self.scored is None else keep & self.scored
        return replace(self, images=self.images[kept], cells=self.cells[kept], pixels=self.pixels[kept], scored=scored)

    def stored(self, domain: str) -> dict[str, NDArray]:
        """The columns as `<domain>/images`, `/cells` and `/pixels`, the size as `<domain>/size`."""
        columns = {"size": np.array(self.size), "images": self.images, "cells": self.cells, "pixels": self.pixels}
        return {f"{domain}/{name}": column for name, column in columns.items()}

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray], absent: Absent = "zero") -> "dict[str, PixelEvidence]":
        """Inverse of `stored`, for all domains of a file; one of before has matrices `(N, K, K)` of each.

        Raises:
            KeyError: an array is missing.
        """
        evidence = {domain: cls.of_matrices(array, absent) for domain, array in arrays.items() if array.ndim == 3}
        columns = by_domain({name: array for name, array in arrays.items() if name not in evidence})
        for domain, named in columns.items():
            images, classes = named["size"].tolist()
            evidence[domain] = cls((images, classes), named["images"], named["cells"], named["pixels"], absent)
        return evidence


def cells_of(matrix: Matrix) -> Cells:
    """The cells of a confusion matrix `(K, K)` that are not 0."""
    flat = matrix.reshape(-1)
    cells = np.flatnonzero(flat)
    return cells.astype(np.int32), flat[cells].astype(np.int32)
