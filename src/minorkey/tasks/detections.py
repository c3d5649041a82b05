"""What a detector found in one image."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Detections:
    """Boxes with a class and a score each, the best first.

    Attributes:
        boxes: `(N, 4)` float32, `x0 y0 x1 y1` in pixels of the image that was given; `x1 y1` are exclusive.
        scores: `(N,)` float32 in [0, 1], descending.
        classes: `(N,)` int64, train ids.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        """How many there are."""
        return len(self.scores)


@dataclass(frozen=True)
class FoundBoxes:
    """The same on its device, in no order: what pseudo-labels are made of.

    Attributes:
        boxes: `(N, 4)` float32, `x0 y0 x1 y1` in pixels.
        scores: `(N,)` float32 in [0, 1].
        classes: `(N,)` int64, train ids.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor

    def above(self, threshold: float) -> "FoundBoxes":
        """Those whose score reaches a threshold."""
        sure = self.scores >= threshold
        return FoundBoxes(self.boxes[sure], self.scores[sure], self.classes[sure])
