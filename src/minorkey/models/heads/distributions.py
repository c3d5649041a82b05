"""The losses of D-FINE's distributions of box edges (arXiv 2410.13842), of all layers at once.

A distribution says how far an edge lies from where the layer before put it, in steps that are fine in the middle and
coarse outside. Layers come first: distributions `(L, B, Q, 4 (N + 1))` of the edges left, top, right, bottom.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.image_transforms import center_to_corners_format

from minorkey.models.heads.set_criterion import Assigned, Prediction, Terms

TEMPERATURE = 5.0
"""Of the distributions that are distilled."""


@dataclass(frozen=True)
class EdgeLosses:
    """Fine-grained localisation (section 4.1, equation 3) and its distillation to earlier layers (section 4.2).

    Args:
        bins: N, the steps of a distribution.
        up: where the outer bound of the steps is.
        scale: how coarse they become.
    """

    bins: int
    up: float
    scale: float

    def __call__(self, prediction: Prediction, given: Assigned, overlap: Tensor, count: Tensor | float) -> Terms:
        """`loss_fgl`, over the number of objects, and `loss_ddf`, a mean over queries; sums over the layers.

        Args:
            prediction: of the last L' of the L layers, `pred_corners`, the `ref_points` `(L', B, Q, 4)` that these
                move, and of the teacher, the last layer, `teacher_corners` and `teacher_logits` with L' 1.
            given: what is to be found.
            overlap: IoU `(L, B, Q)` with it.
            count: of the objects.
        """
        layers = len(prediction["pred_corners"])
        found = given.found().expand(overlap.shape)[-layers:]
        boxes = given.boxes.expand(len(overlap), -1, -1, -1)[-layers:]
        counted = torch.ones_like(found) if given.counted is None else given.counted.expand(overlap.shape)[-layers:]
        overlap = overlap[-layers:]
        logits = prediction["pred_corners"].unflatten(-1, (4, self.bins + 1))
        located = self._located(logits, prediction["ref_points"].detach(), boxes)
        return {
            "loss_fgl": torch.where(found, located.sum(-1) * overlap, 0.0).sum() / count,
            "loss_ddf": self._distilled(logits, prediction, overlap, found, counted & ~found),
        }

    def _located(self, logits: Tensor, start: Tensor, boxes: Tensor) -> Tensor:
        """The cross-entropy of each edge `(L', B, Q, 4)` to the two steps around where it is to be."""
        steps = self.steps(logits.device)
        wanted = self.distances(start, boxes).clamp(min=steps[0], max=steps[-1])
        left = ((wanted[..., None] >= steps).sum(-1) - 1).clamp(0, self.bins - 1)
        below, above = wanted - steps[left], steps[left + 1] - wanted
        right_share = below / (below + above)
        log_shares = logits.log_softmax(-1)
        of_left, of_right = (log_shares.gather(-1, place[..., None])[..., 0] for place in (left, left + 1))
        return -((1 - right_share) * of_left + right_share * of_right)

    def _distilled(
        self, logits: Tensor, prediction: Prediction, overlap: Tensor, found: Tensor, others: Tensor
    ) -> Tensor:
        """The divergence to the teacher, where it is sure; of queries that find and of others in a fixed proportion.

        The last layer is the teacher itself, and has none.
        """
        teacher = prediction["teacher_corners"].detach().unflatten(-1, (4, self.bins + 1))
        shares = (teacher / TEMPERATURE).softmax(-1)
        apart = F.kl_div((logits / TEMPERATURE).log_softmax(-1), shares, reduction="none").sum((-1, -2))
        sure = torch.where(found, overlap, prediction["teacher_logits"].detach().sigmoid().amax(-1))
        weighted = TEMPERATURE**2 * sure * apart
        (mean, share), (other_mean, other_share) = (_mean(weighted, where) for where in (found, others))
        of_layers = (mean * share + other_mean * other_share) / (share + other_share).clamp(min=1)
        return of_layers[:-1].sum()

    def steps(self, device: torch.device) -> Tensor:
        """W(n) of equation 2, `(N + 1,)`: a geometric series to both sides, whose last steps are twice the bound."""
        bound = abs(self.up) * abs(self.scale)
        places = torch.arange(self.bins + 1, device=device) - self.bins // 2
        size = (bound + 1) ** (2 / (self.bins - 2))
        grown = torch.where(places.abs() < self.bins // 2, size ** places.abs().float() - 1, 2 * bound)
        return places.sign() * grown

    def distances(self, start: Tensor, boxes: Tensor) -> Tensor:
        """How far the edges of boxes are from those that they start at, in steps of a side over `scale`."""
        scale = abs(self.scale)
        middle, sides = start[..., :2], start[..., 2:] / scale + 1e-16
        corners = center_to_corners_format(boxes)
        low, high = (middle - corners[..., :2]) / sides, (corners[..., 2:] - middle) / sides
        return torch.cat([low, high], -1) - scale / 2


def _mean(values: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Of each layer, the mean of each edge's `values` `(L, B, Q)` of so many queries, and the root of their number."""
    count = where.sum((1, 2))
    mean = torch.where(where, values, 0.0).sum((1, 2)) / (4 * count).clamp(min=1)
    return mean, count.sqrt()
