"""Deformable DETR (arXiv 2010.04159) of two stages with box refinement: transformers' own, on the pyramid."""

from typing import Any

import torch
from torch import Tensor
from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection
from transformers.utils import ModelOutput

from minorkey.models.heads.detection.collaborative import Decoding
from minorkey.models.heads.detection.detr import check_width, objects_per_process, shared_settings
from minorkey.models.heads.detr_start import start_head
from minorkey.models.heads.run_ahead import let_run_ahead
from minorkey.models.heads.set_criterion import (
    MatchCosts,
    Prediction,
    SetCriterion,
    Targets,
    focal_loss,
    padded,
    stacked,
    total,
)
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidConfig

ENCODER_LAYERS = 6

EPSILON = 1e-5
"""Least share of an image that has a logit, as in transformers."""

WEIGHTS = {"loss_ce": 2.0, "loss_bbox": 5.0, "loss_giou": 2.0}
"""Of focal loss, L1 and GIoU, in the losses as in the matching."""


def build_deformable_detr(
    backbone: PyramidConfig, num_labels: int, channels: int, options: HeadOptions
) -> DeformableDetrForObjectDetection:
    """A Deformable DETR with random weights around a pyramid of strides 8, 16, 32; it makes its own 64.

    transformers replaces batch norms of a backbone by frozen ones where it loads the model. Built here, they are what
    they were; in evaluation the two are the same.

    Raises:
        ModelError: the width does not divide into groups.
    """
    check_width(channels, "deformable_detr")
    queries = shared_settings(backbone, num_labels, channels, options)
    model = DeformableDetrForObjectDetection(
        DeformableDetrConfig(
            **queries,
            encoder_layers=options.encoder_layers or ENCODER_LAYERS,
            two_stage=True,
            two_stage_num_proposals=queries["num_queries"],
            with_box_refine=True,
            auxiliary_loss=True,
            class_cost=2,
            disable_custom_kernels=True,
        )
    )
    start_head(model, model.class_embed, model.bbox_embed)
    model.loss_function = deformable_detr_loss
    let_run_ahead(model)
    model.register_forward_hook(_add_losses, with_kwargs=True)
    return model


def deformable_detr_loss(
    logits: Tensor,
    labels: Targets,
    device: torch.device,
    pred_boxes: Tensor,
    config: DeformableDetrConfig,
    outputs_class: Tensor,
    outputs_coord: Tensor,
) -> tuple[Tensor, Prediction, None]:
    """What the layers say, `(L, B, Q, ...)`, kept for `_add_losses`, which is given that of the first stage too.

    Both are matched together, so that the host waits once.
    """
    return logits.new_zeros(()), {"logits": outputs_class, "pred_boxes": outputs_coord}, None


def deformable_detr_criterion(config: DeformableDetrConfig) -> SetCriterion:
    """Focal loss, L1 and GIoU."""
    costs = MatchCosts(config.class_cost, config.bbox_cost, config.giou_cost)
    return SetCriterion("loss_ce", focal_loss(config.focal_alpha), WEIGHTS, costs)


def _add_losses(
    model: DeformableDetrForObjectDetection, arguments: tuple, named: dict[str, Any], output: ModelOutput
) -> None:
    """The losses of all layers, and of the first stage, which transformers 5.23 leaves out: any object, at any place.

    Its class is the first, by which the model ranks places (section 4.2 and appendix A.4 of the paper).
    """
    if output.loss is None:
        return
    objects, count = padded(named["labels"]), objects_per_process(named["labels"])
    anything = objects._replace(classes=objects.classes.clamp(max=0))
    boxes = output.enc_outputs_coord_logits.sigmoid()
    proposals = {"logits": output.enc_outputs_class[None], "pred_boxes": boxes[None]}
    criterion = deformable_detr_criterion(model.config)
    terms, of_proposals = criterion.matched([(output.loss_dict, objects), (proposals, anything)], count)
    output.loss_dict = terms | {"encoder": total(of_proposals)}
    output.loss = total(output.loss_dict)


def _decoder_inputs(model: DeformableDetrForObjectDetection, features: Tensor, boxes: Tensor) -> dict[str, Any]:
    """Queries at boxes `(B, P, 4)`, made as those of the proposals are: of the box alone."""
    inner = model.model
    placed = inner.pos_trans_norm(inner.pos_trans(inner.get_proposal_pos_embed(boxes.logit(EPSILON))))
    position, content = placed.chunk(2, dim=-1)
    return {
        "inputs_embeds": content,
        "object_queries_position_embeddings": position,
        "reference_points": boxes,
    }


def _decoded_layers(model: DeformableDetrForObjectDetection, decoded: ModelOutput, boxes: Tensor) -> Prediction:
    """What each layer makes of the boxes that it starts from, which the decoder gives without gradients."""
    starts = [boxes, *decoded.intermediate_reference_points.unbind(1)[:-1]]
    layers = zip(
        model.class_embed, model.bbox_embed, decoded.intermediate_hidden_states.unbind(1), starts, strict=False
    )
    return stacked(
        [
            {"logits": classify(hidden), "pred_boxes": (refine(hidden) + start.logit(EPSILON)).sigmoid()}
            for classify, refine, hidden, start in layers
        ]
    )


DECODING = Decoding(deformable_detr_criterion, _decoder_inputs, "attention_mask", _decoded_layers)
