"""What the DETR heads share: targets, and losses of queries that are matched one to one with objects.

A DETR proposes a fixed set of boxes, each with a score per class (arXiv 2005.12872). transformers has the matching and
every single term; here they are put together, over layers and processes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DeformableDetrForObjectDetection, DFineForObjectDetection, RTDetrV2ForObjectDetection
from transformers.image_transforms import corners_to_center_format
from transformers.utils import ModelOutput

from minorkey.errors import ModelError
from minorkey.models.heads.atss.detector import AtssForObjectDetection
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidConfig
from minorkey.reduction import process_count, sum_over_processes

DETECTORS = (
    DeformableDetrForObjectDetection,
    RTDetrV2ForObjectDetection,
    DFineForObjectDetection,
    AtssForObjectDetection,
)
"""Models that take boxes and classes as `labels`, and return so many boxes with logits, as transformers' own do."""

Terms = dict[str, Tensor]
"""Parts of a loss, scalars by name, weighted: their sum is the loss."""

Targets = list[dict[str, Tensor]]
"""Per image `class_labels` (N,) int64 and `boxes` (N, 4): centre x y, width and height, as shares of the image."""

Prediction = dict[str, Tensor]
"""What one layer says: `logits` (B, Q, K), `pred_boxes` (B, Q, 4) as in the targets, and more for some heads."""

Indices = list[tuple[Tensor, Tensor]]
"""Per image, queries and the objects that they are to find."""

QUERIES, DECODER_LAYERS = 300, 6
"""As in the papers of all three heads, unless told otherwise."""

WIDTH_UNIT = 32
"""The heads' attention heads and group norms divide their width by 8 or by this."""


def box_targets(boxes: Sequence[Tensor], classes: Sequence[Tensor], size: tuple[int, int]) -> Targets:
    """What a DETR is to find in a batch.

    Shares are of the whole batch image, padding included, as is the image that the model sees: it gets no mask.

    Args:
        boxes: per image `(N, 4)`, x0 y0 x1 y1 in pixels.
        classes: per image `(N,)` int64.
        size: height and width of the batch in pixels.
    """
    height, width = size
    return [
        {"class_labels": labels, "boxes": corners_to_center_format(corners / corners.new_tensor([width, height] * 2))}
        for corners, labels in zip(boxes, classes, strict=True)
    ]


@dataclass(frozen=True)
class SetCriterion:
    """The losses of predictions of several layers.

    Differs from what transformers 5.23 does in three ways: it computes in float32 under autocast as well; `count` is
    to be the same in all processes, so that averaged gradients are those of the whole batch (transformers divides by
    each process's own number, or twice by the number of processes); and predictions that are not finite give NaN,
    which the training loop reports, in place of an error of the matcher.

    Args:
        terms: `RTDetrLoss`, `DFineLoss` or `DeformableDetrImageLoss`, with its matcher.
        weights: of the terms, by name; others are left out.
    """

    terms: Any
    weights: Mapping[str, float]

    def matched(self, layers: Sequence[Prediction], targets: Targets, count: float) -> Terms:
        """Losses with every layer matched anew, summed over the layers and divided by `count`."""
        return self._of(layers, targets, lambda layer: self.terms.matcher(layer, targets), count)

    def assigned(self, layers: Sequence[Prediction], targets: Targets, indices: Indices, count: float) -> Terms:
        """The same of queries whose objects are known."""
        return self._of(layers, targets, lambda layer: indices, count)

    def _of(
        self,
        layers: Sequence[Prediction],
        targets: Targets,
        indices_of: Callable[[Prediction], Indices],
        count: float,
    ) -> Terms:
        with torch.autocast(layers[0]["logits"].device.type, enabled=False):
            layers = [{name: value.float() for name, value in layer.items()} for layer in layers]
            if not all(torch.isfinite(layer["pred_boxes"]).all() for layer in layers):
                return dict.fromkeys(self.weights, layers[0]["pred_boxes"].sum() * torch.nan)
            return summed([self._of_layer(layer, targets, indices_of(layer), count) for layer in layers])

    def _of_layer(self, layer: Prediction, targets: Targets, indices: Indices, count: float) -> Terms:
        found: Terms = {}
        for kind in self.terms.losses:
            found |= self.terms.get_loss(kind, layer, targets, indices, count)
        return {name: self.weights[name] * term for name, term in found.items() if name in self.weights}


def objects_per_process(targets: Targets) -> float:
    """Objects of the batch, averaged over the processes that share it, which call this at one time; at least 1."""
    return process_average(sum(len(target["boxes"]) for target in targets), targets[0]["boxes"].device)


def process_average(count: int, device: torch.device) -> float:
    """A count, averaged over the processes, which call this at one time; at least 1."""
    if process_count() == 1:
        return max(1.0, count)
    return max(1.0, sum_over_processes(torch.tensor(float(count), device=device)).item() / process_count())


def summed(layers: Sequence[Terms]) -> Terms:
    """Terms of several layers, added up by name; a term may be missing in some."""
    names = dict.fromkeys(name for layer in layers for name in layer)
    return {name: torch.stack([layer[name] for layer in layers if name in layer]).sum() for name in names}


def total(terms: Terms) -> Tensor:
    """The loss of its terms."""
    return torch.stack([*terms.values()]).sum()


def add_terms(output: ModelOutput, terms: Terms) -> None:
    """Count further terms in a model's loss."""
    output.loss_dict = {**output.loss_dict, **terms}
    output.loss = output.loss + total(terms)


def check_width(channels: int, name: str) -> None:
    """Refuse a width that does not divide into attention heads and groups.

    Raises:
        ModelError: it is no multiple of 32.
    """
    if channels % WIDTH_UNIT:
        raise ModelError(f"head.channels is {channels}; {name} takes a multiple of {WIDTH_UNIT}, as a rule 256")


def shared_settings(backbone: PyramidConfig, num_labels: int, channels: int, options: HeadOptions) -> dict[str, Any]:
    """What the configurations of all three heads call by one name."""
    return {
        "backbone_config": backbone,
        "num_labels": num_labels,
        "d_model": channels,
        "num_queries": options.queries or QUERIES,
        "decoder_layers": options.decoder_layers or DECODER_LAYERS,
        "encoder_ffn_dim": 4 * channels,
        "decoder_ffn_dim": 4 * channels,
    }
