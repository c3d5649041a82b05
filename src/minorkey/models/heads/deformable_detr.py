"""Deformable DETR (arXiv 2010.04159) of two stages with box refinement: transformers' own, on the pyramid."""

from typing import Any

import torch
from torch import Tensor
from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection
from transformers.loss.loss_deformable_detr import DeformableDetrHungarianMatcher, DeformableDetrImageLoss
from transformers.utils import ModelOutput

from minorkey.models.heads.collaborative import Decoding
from minorkey.models.heads.detr import (
    Prediction,
    SetCriterion,
    Targets,
    Terms,
    add_terms,
    check_width,
    objects_per_process,
    shared_settings,
    total,
)
from minorkey.models.heads.detr_start import start_head
from minorkey.models.heads.run_ahead import let_run_ahead
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
    model.register_forward_hook(_add_proposals, with_kwargs=True)
    return model


def deformable_detr_loss(
    logits: Tensor,
    labels: Targets,
    device: torch.device,
    pred_boxes: Tensor,
    config: DeformableDetrConfig,
    outputs_class: Tensor,
    outputs_coord: Tensor,
) -> tuple[Tensor, Terms, None]:
    """The loss of all layers, `(L, B, Q, ...)`, as the model asks for it."""
    layers, count = deformable_detr_layers(outputs_class, outputs_coord), objects_per_process(labels)
    terms = deformable_detr_criterion(config, device).matched(layers, labels, count)
    return total(terms), terms, None


def deformable_detr_criterion(config: DeformableDetrConfig, device: torch.device) -> SetCriterion:
    """Focal loss, L1 and GIoU."""
    matcher = DeformableDetrHungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
    terms = DeformableDetrImageLoss(matcher, config.num_labels, config.focal_alpha, ["labels", "boxes"])
    return SetCriterion(terms.to(device), WEIGHTS)


def deformable_detr_layers(classes: Tensor, boxes: Tensor) -> list[Prediction]:
    """Predictions of the layers, from logits `(L, B, Q, K)` and boxes `(L, B, Q, 4)`."""
    return [{"logits": logits, "pred_boxes": layer} for logits, layer in zip(classes, boxes, strict=True)]


def _add_proposals(
    model: DeformableDetrForObjectDetection, arguments: tuple, named: dict[str, Any], output: ModelOutput
) -> None:
    """Let the first stage learn as well, which transformers 5.23 leaves out: any object, at any place of the encoder.

    Its class is the first, by which the model ranks places (section 4.2 and appendix A.4 of the paper).
    """
    if output.loss is None:
        return
    proposals = {"logits": output.enc_outputs_class, "pred_boxes": output.enc_outputs_coord_logits.sigmoid()}
    targets = [{**target, "class_labels": torch.zeros_like(target["class_labels"])} for target in named["labels"]]
    criterion = deformable_detr_criterion(model.config, model.device)
    add_terms(output, {"encoder": total(criterion.matched([proposals], targets, objects_per_process(targets)))})


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


def _decoded_layers(model: DeformableDetrForObjectDetection, decoded: ModelOutput, boxes: Tensor) -> list[Prediction]:
    """What each layer makes of the boxes that it starts from, which the decoder gives without gradients."""
    starts = [boxes, *decoded.intermediate_reference_points.unbind(1)[:-1]]
    layers = zip(
        model.class_embed, model.bbox_embed, decoded.intermediate_hidden_states.unbind(1), starts, strict=False
    )
    return [
        {"logits": classify(hidden), "pred_boxes": (refine(hidden) + start.logit(EPSILON)).sigmoid()}
        for classify, refine, hidden, start in layers
    ]


DECODING = Decoding(deformable_detr_criterion, _decoder_inputs, "attention_mask", _decoded_layers)
