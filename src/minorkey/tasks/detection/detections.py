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
    """What every query found in a batch, on its device: what pseudo-labels are made of.

    Attributes:
        boxes: `(B, Q, 4)` float32, `x0 y0 x1 y1` in pixels.
        scores: `(B, Q)` float32 in [0, 1]; 0 where nothing of the box is in the image.
        classes: `(B, Q)` int64, train ids.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor

    def above(self, threshold: float) -> tuple[list[Tensor], list[Tensor]]:
        """Boxes `(N, 4)` and classes `(N,)` of each image whose score reaches a threshold, in the order of the queries.

        The host waits once, for how many there are.
        """
        sure = self.scores >= threshold
        order = (~sure).byte().argsort(dim=1, stable=True)
        counts = sure.sum(dim=1).tolist()
        boxes, classes = self.boxes.take_along_dim(order[..., None], 1), self.classes.gather(1, order)
        return [b[:n] for b, n in zip(boxes, counts, strict=True)], [
            c[:n] for c, n in zip(classes, counts, strict=True)
        ]
