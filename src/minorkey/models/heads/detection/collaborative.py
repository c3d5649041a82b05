"""Collaborative training (Co-DETR, arXiv 2211.12860): a dense detector learns on what the decoder of a DETR attends to.

It gives the encoder more to learn from than one query per object does. The anchors that it assigns to objects are
queries of the decoder too, one group more. After training it is dropped, and leaves no trace in the model.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.image_transforms import corners_to_center_format
from transformers.utils import ModelOutput

from minorkey.models.heads.detection.atss import AtssHead, PositiveAnchors, atss_losses, positive_anchors
from minorkey.models.heads.detection.atss.anchors import in_pixels, shares
from minorkey.models.heads.detection.detr import add_terms
from minorkey.models.heads.matching import average_count
from minorkey.models.heads.set_criterion import ABSENT, Assigned, Prediction, SetCriterion, Targets, padded, total

WEIGHT = 2.0
"""Of the dense detector's losses, for every layer of the decoder: the paper's lambda 2."""

UNSEEN = -1e4
"""Added to the attention to a query that is not to be seen: without any weight, and finite in half precision."""


@dataclass(frozen=True)
class Decoding:
    """How the decoder of one kind of DETR takes further queries, and how it is judged."""

    criterion: Callable[[PreTrainedConfig], SetCriterion]
    inputs: Callable[[PreTrainedModel, Tensor, Tensor], dict[str, Any]]  # encoder's features, boxes -> decoder's inputs
    mask: str  # the input that is added to what queries see of one another
    layers: Callable[[PreTrainedModel, ModelOutput, Tensor], Prediction]  # decoder's output, boxes -> predictions


class CollaborativeHead(AtssHead):
    """An ATSS head that adds its losses to those of a DETR, whenever that is given labels.

    By hooks: the model is of transformers' own class, before and after.

    Args:
        config: of the model.
        decoding: of the same.
    """

    def __init__(self, config: PreTrainedConfig, decoding: Decoding) -> None:
        super().__init__(config.d_model, config.num_labels, config.num_feature_levels)
        self.decoding = decoding
        self.weight = WEIGHT * config.decoder_layers
        self.seen: dict[str, Any] = {}  # what the decoder was called with, until the model returns
        self.precision: AbstractContextManager = nullcontext()  # that the decoder ran in
        self.handles: list[torch.utils.hooks.RemovableHandle] = []

    def join(self, model: PreTrainedModel) -> None:
        """Become a part of the model."""
        model.auxiliary_head = self
        self.handles = [
            model.model.decoder.register_forward_pre_hook(self._keep, with_kwargs=True),
            model.register_forward_hook(self._learn, with_kwargs=True),
        ]

    def leave(self, model: PreTrainedModel) -> None:
        """Be no part of it any more."""
        for handle in self.handles:
            handle.remove()
        del model.auxiliary_head

    def _keep(self, decoder: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        device = named["encoder_hidden_states"].device.type
        dtype, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        self.seen, self.precision = named, torch.autocast(device, dtype, enabled)

    def _learn(self, model: PreTrainedModel, arguments: tuple, named: dict[str, Any], output: ModelOutput) -> None:
        if output.loss is not None:
            with self.precision:  # accelerate ends its own before the hooks of a model run
                self._add_losses(model, named["labels"], named["pixel_values"].shape[-2:], output)
        self.seen = {}

    def _add_losses(self, model: PreTrainedModel, targets: Targets, size: tuple[int, int], output: ModelOutput) -> None:
        seen, classes = self.seen, [target["class_labels"] for target in targets]
        boxes = in_pixels(torch.cat([target["boxes"] for target in targets]), size).split([*map(len, classes)])
        shapes = seen["spatial_shapes_list"]
        dense = atss_losses(self(feature_maps(seen["encoder_hidden_states"], shapes)), boxes, classes, size)
        add_terms(output, {name: self.weight * term for name, term in dense.items()})
        anchors = positive_anchors(boxes, shapes, size)
        count = average_count(anchors.real.sum())  # of all processes, those without an object too
        if anchors.real.shape[1]:
            add_terms(output, {"positives": self._further_queries(model, seen, anchors, targets, size, count)})

    def _further_queries(
        self,
        model: PreTrainedModel,
        seen: dict[str, Any],
        anchors: PositiveAnchors,
        targets: Targets,
        size: tuple[int, int],
        count: Tensor,
    ) -> Tensor:
        """The loss of the assigned anchors as queries; images are filled up with others, to no effect."""
        objects = padded(targets)
        starts = corners_to_center_format(shares(anchors.boxes, size)).where(anchors.real[..., None], 0.5)
        features = seen["encoder_hidden_states"].take_along_dim(anchors.places[..., None], dim=1)
        mask = {self.decoding.mask: UNSEEN * (~anchors.real)[:, None, None].to(features.dtype)}
        decoded = model.model.decoder(**{**seen, **self.decoding.inputs(model, features, starts), **mask})
        given = Assigned(
            objects.boxes.take_along_dim(anchors.objects[..., None], 1)[None],
            objects.classes.gather(1, anchors.objects).where(anchors.real, ABSENT)[None],
            anchors.real[None],
        )
        criterion = self.decoding.criterion(model.config)
        return total(criterion.assigned(self.decoding.layers(model, decoded, starts), given, count))


def drop_auxiliary(model: nn.Module) -> None:
    """Take the auxiliary head out of a trained detector; other models have none, and are left alone."""
    head = getattr(model, "auxiliary_head", None)
    if isinstance(head, CollaborativeHead):
        head.leave(model)


def feature_maps(memory: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """The maps `(B, C, h_i, w_i)` of flattened features `(B, S, C)`, one map after the other."""
    levels = memory.split([height * width for height, width in shapes], dim=1)
    return [level.transpose(1, 2).unflatten(2, shape) for level, shape in zip(levels, shapes, strict=True)]
