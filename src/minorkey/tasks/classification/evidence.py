"""Evidence of classification: the class of each image, and the one that was predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from minorkey.tasks.evidence import Floats, by_domain, mean_present, share


@dataclass(frozen=True)
class CategoryEvidence:
    """N images of one domain; the score is accuracy, or its mean over classes."""

    truth: NDArray[np.int32]  # (N,) train ids; -1 where the image does not count
    predicted: NDArray[np.int32]  # (N,)
    num_classes: int  # K
    balanced: bool = False  # whether every class counts alike, in place of every image
    unit: ClassVar[str] = "image"

    @classmethod
    def of(cls, notes: Sequence[tuple[int, int]], num_classes: int, balanced: bool) -> Self:
        """From the truth and the prediction of each image."""
        truth, predicted = np.array(notes, np.int32).reshape(-1, 2).T
        return cls(truth, predicted, num_classes, balanced)

    @property
    def shape(self) -> tuple[int, int]:
        """Images and classes, `(N, K)`."""
        return len(self.truth), self.num_classes

    def score(self) -> float:
        """Accuracy, or balanced accuracy, over the images that count; NaN without any."""
        return float(self.scores(np.ones((1, len(self.truth)), np.int64))[0])

    def scores(self, draws: NDArray[np.int64]) -> Floats:
        """The score of every resample, `(R, N)` to `(R,)`; a class that a resample misses is left out of its mean."""
        hits, images = draws @ self._marks(self.truth == self.predicted), draws @ self._marks()
        return mean_present(share(hits, images)) if self.balanced else share(hits.sum(axis=1), images.sum(axis=1))

    def by_class(self) -> Floats:
        """The share of the images of each class that are recognised, `(K,)`; NaN for a class that no image shows."""
        return share(self._marks(self.truth == self.predicted).sum(axis=0), self._marks().sum(axis=0))

    def details(self) -> dict[str, float]:
        """The other of accuracy and balanced accuracy."""
        other = replace(self, balanced=not self.balanced)
        return {"balanced accuracy" if other.balanced else "accuracy": other.score()}

    def class_details(self) -> dict[str, Floats]:
        """The share of the images taken for a class that do show it, `(K,)`."""
        counted = self.predicted[self.truth >= 0]
        hits = self._marks(self.truth == self.predicted).sum(axis=0)
        return {"precision": share(hits, np.bincount(counted, minlength=self.num_classes).astype(np.float64))}

    def only(self, keep: NDArray[np.bool]) -> "CategoryEvidence":
        """Leave out the images whose class `keep` `(K,)` leaves out."""
        return replace(self, truth=np.where(keep[self.truth], self.truth, -1).astype(np.int32))

    def stored(self, domain: str) -> dict[str, NDArray]:
        """Both columns, as `<domain>/truth` and `<domain>/predicted`."""
        return {f"{domain}/truth": self.truth, f"{domain}/predicted": self.predicted}

    @classmethod
    def restored(cls, arrays: Mapping[str, NDArray], num_classes: int, balanced: bool) -> "dict[str, CategoryEvidence]":
        """Inverse of `stored`, for all domains of a file.

        Raises:
            KeyError: a column is missing.
        """
        columns = by_domain(arrays)
        return {name: cls(kept["truth"], kept["predicted"], num_classes, balanced) for name, kept in columns.items()}

    def _marks(self, chosen: NDArray[np.bool] | None = None) -> Floats:
        """`(N, K)`, 1 at the class of each image that counts and is chosen; float64, which goes through BLAS."""
        counted = self.truth >= 0 if chosen is None else chosen & (self.truth >= 0)
        marks = np.zeros(self.shape)
        marks[np.flatnonzero(counted), self.truth[counted]] = 1
        return marks
