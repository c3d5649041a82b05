"""Losses of queries that find objects, of all layers of a decoder at once.

Every query is judged, and those that are to find nothing are masked out: no number that only the device knows is
needed. Layers come first: logits `(L, B, Q, K)`, boxes `(L, B, Q, 4)`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.image_transforms import center_to_corners_format

from minorkey.models.heads.detection.atss.overlap import giou, iou
from minorkey.models.heads.matching import Matches, match, without_absent

Terms = dict[str, Tensor]
"""Parts of a loss, scalars by name, weighted: their sum is the loss."""

Targets = list[dict[str, Tensor]]
"""Per image `class_labels` (N,) int64 and `boxes` (N, 4): centre x y, width and height, as shares of the image."""

Prediction = dict[str, Tensor]
"""What the layers say: `logits` (L, B, Q, K), `pred_boxes` (L, B, Q, 4) as in the targets, and more for some heads."""

ABSENT = -1
"""In place of a class, where there is no object."""

EPSILON = 1e-8
"""Added to a probability before its logarithm, as in transformers."""


class Objects(NamedTuple):
    """The targets of a batch, as many for each image, at least one."""

    boxes: Tensor  # (B, N, 4); with an area where there is no object too
    classes: Tensor  # (B, N) int64, ABSENT where there is none


class Assigned(NamedTuple):
    """What queries are to find; L is 1 where it is the same in all layers."""

    boxes: Tensor  # (L, B, Q, 4), of any object where there is nothing to find
    classes: Tensor  # (L, B, Q) int64, ABSENT where there is nothing to find
    counted: Tensor | None = None  # (L, B, Q) bool, false where there is no query either; None: nowhere

    def found(self) -> Tensor:
        """Which queries are to find something, `(L, B, Q)` bool."""
        return self.classes != ABSENT

    def one_hot(self, classes: int) -> Tensor:
        """The class of each `(L, B, Q, K)` bool; none where there is nothing to find."""
        return self.classes[..., None] == torch.arange(classes, device=self.classes.device)


ClassLoss = Callable[[Tensor, Assigned, Tensor], Tensor]
"""Logits, what is assigned and the IoU of it `(L, B, Q)` -> losses `(L, B, Q, K)`."""

LocalLosses = Callable[[Prediction, Assigned, Tensor, Tensor | float], Terms]
"""Prediction, what is assigned, the IoU of it, and the number of objects -> further terms."""


@dataclass(frozen=True)
class MatchCosts:
    """Weights of the costs of a match, and the focal cost of its class."""

    of_class: float
    bbox: float
    giou: float
    alpha: float = 0.25
    gamma: float = 2.0


@dataclass(frozen=True)
class SetCriterion:
    """The losses of predictions of several layers, summed over them.

    What is computed is transformers' own (the tests hold it to that), in float32 under autocast as well. `count` is to
    be the same in all processes, so that averaged gradients are those of the whole batch (transformers divides by each
    process's own number, or twice by the number of processes). Boxes that are not finite give NaN, which the training
    loop reports, in place of an error of the matcher.

    Args:
        class_name: what the loss of the class is called.
        class_loss: how it is computed.
        weights: of the terms, by name; others are left out.
        costs: of the matching.
        local: further losses of the boxes; None: none.
    """

    class_name: str
    class_loss: ClassLoss
    weights: Mapping[str, float]
    costs: MatchCosts
    local: LocalLosses | None = None

    def matched(self, groups: Sequence[tuple[Prediction, Objects]], count: Tensor | float) -> list[Terms]:
        """Losses with every layer matched anew, divided by `count`, of groups of layers that are matched together."""
        with torch.autocast(groups[0][1].boxes.device.type, enabled=False):
            groups = [(_as_float(prediction), objects) for prediction, objects in groups]
            found = match([self.match_costs(prediction, objects) for prediction, objects in groups])
            return [
                self._losses(prediction, assigned(matches, objects, prediction["logits"].shape[:3]), count)
                for (prediction, objects), matches in zip(groups, found, strict=True)
            ]

    def assigned(self, prediction: Prediction, given: Assigned, count: Tensor | float) -> Terms:
        """The same of queries whose objects are known."""
        with torch.autocast(given.boxes.device.type, enabled=False):
            return self._losses(_as_float(prediction), given, count)

    @torch.no_grad()
    def match_costs(self, prediction: Prediction, objects: Objects) -> Tensor:
        """What it costs each query to find each object, `(L, B, Q, N)`."""
        boxes, logits, costs = prediction["pred_boxes"], prediction["logits"], self.costs
        places = objects.classes.clamp(min=0)[None, :, None].expand(*logits.shape[:3], -1)
        p = logits.sigmoid().gather(-1, places)
        there = costs.alpha * (1 - p) ** costs.gamma * -(p + EPSILON).log()
        elsewhere = (1 - costs.alpha) * p**costs.gamma * -(1 - p + EPSILON).log()
        distance = torch.cdist(boxes, objects.boxes.expand(len(boxes), -1, -1, -1), p=1)
        overlap = giou(center_to_corners_format(boxes)[..., None, :], center_to_corners_format(objects.boxes)[:, None])
        total = costs.bbox * distance + costs.of_class * (there - elsewhere) - costs.giou * overlap
        return without_absent(total, objects.classes != ABSENT)

    def _losses(self, prediction: Prediction, given: Assigned, count: Tensor | float) -> Terms:
        boxes, found = prediction["pred_boxes"], given.found()
        corners, wanted = center_to_corners_format(boxes), center_to_corners_format(given.boxes)
        overlap = iou(corners.detach(), wanted)
        of_class = self.class_loss(prediction["logits"], given, overlap)
        if given.counted is not None:
            of_class = of_class * given.counted[..., None]
        distance = (boxes - given.boxes).abs().sum(-1)
        missed = 1 - giou(corners, wanted)
        finite = boxes.sum() * 0  # NaN if a box is not
        terms = {
            self.class_name: of_class.sum() / count,
            "loss_bbox": torch.where(found, distance, 0.0).sum() / count + finite,
            "loss_giou": torch.where(found, missed, 0.0).sum() / count,
        }
        if self.local is not None and "pred_corners" in prediction:
            terms |= self.local(prediction, given, overlap, count)
        return {name: self.weights[name] * term for name, term in terms.items() if name in self.weights}


def padded(targets: Targets) -> Objects:
    """Targets of images of any number of objects."""
    boxes = pad_sequence([image["boxes"] for image in targets], batch_first=True, padding_value=0.5)
    classes = pad_sequence([image["class_labels"] for image in targets], batch_first=True, padding_value=ABSENT)
    if not classes.shape[1]:
        return Objects(boxes.new_full((len(targets), 1, 4), 0.5), classes.new_full((len(targets), 1), ABSENT))
    return Objects(boxes.float(), classes)


def assigned(matches: Matches, objects: Objects, shape: Sequence[int]) -> Assigned:
    """What the queries `(L, B, Q)` of a matching are to find."""
    images, device = torch.arange(shape[1], device=objects.classes.device)[:, None], objects.classes.device
    layers = torch.arange(shape[0], device=device)[:, None]
    found = torch.full(tuple(shape), ABSENT, device=device)
    found[layers, matches.images, matches.queries] = matches.targets
    places = found.clamp(min=0)
    return Assigned(objects.boxes[images, places], objects.classes[images, places].where(found != ABSENT, ABSENT))


def focal_loss(alpha: float, gamma: float = 2.0) -> ClassLoss:
    """The sigmoid focal loss (RetinaNet, arXiv 1708.02002, equation 5)."""

    def loss(logits: Tensor, given: Assigned, overlap: Tensor) -> Tensor:
        wanted = given.one_hot(logits.shape[-1]).to(logits).expand_as(logits)
        p = logits.sigmoid()
        right = p * wanted + (1 - p) * (1 - wanted)
        weight = alpha * wanted + (1 - alpha) * (1 - wanted)
        return weight * (1 - right) ** gamma * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")

    return loss


def varifocal_loss(alpha: float, gamma: float) -> ClassLoss:
    """The varifocal loss (arXiv 2008.13367, equation 2): the score of an object is its IoU, and its weight too."""

    def loss(logits: Tensor, given: Assigned, overlap: Tensor) -> Tensor:
        there = given.one_hot(logits.shape[-1])
        score = torch.where(there, overlap[..., None], 0.0)
        weight = torch.where(there, score, alpha * logits.detach().sigmoid() ** gamma)
        return F.binary_cross_entropy_with_logits(logits, score, weight, reduction="none")

    return loss


def stacked(layers: Sequence[Prediction]) -> Prediction:
    """Predictions `(B, Q, ...)` of single layers as one."""
    return {name: torch.stack([layer[name] for layer in layers]) for name in layers[0]}


def total(terms: Terms) -> Tensor:
    """The sum of the terms of a loss.

    >>> total({"mask": torch.tensor(1.5), "dice": torch.tensor(0.5)}).item()
    2.0
    """
    return torch.stack([*terms.values()]).sum()


def _as_float(prediction: Prediction) -> Prediction:
    return {name: value.float() for name, value in prediction.items()}
