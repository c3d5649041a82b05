"""D-FINE (arXiv 2410.13842): transformers' own, on the last three levels of the pyramid."""

from typing import Any

import torch
from torch import Tensor
from transformers import DFineConfig, DFineForObjectDetection, PreTrainedModel
from transformers.loss.loss_d_fine import DFineLoss
from transformers.utils import ModelOutput

from minorkey.models.heads.collaborative import Decoding
from minorkey.models.heads.detr import (
    Prediction,
    SetCriterion,
    Targets,
    Terms,
    check_width,
    objects_per_process,
    shared_settings,
    total,
)
from minorkey.models.heads.detr_start import start_head
from minorkey.models.heads.rt_detr_v2 import QUERY_MASK, denoising_loss, hybrid_inputs, hybrid_settings, split_layers
from minorkey.models.heads.run_ahead import let_run_ahead
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidConfig


def build_d_fine(
    backbone: PyramidConfig, num_labels: int, channels: int, options: HeadOptions
) -> DFineForObjectDetection:
    """A D-FINE with random weights around a pyramid of strides 8, 16, 32, with the settings of the paper's L.

    Raises:
        ModelError: the width does not divide into attention heads, or the decoder is to have a single layer.
    """
    check_width(channels, "d_fine")
    model = DFineForObjectDetection(
        DFineConfig(**shared_settings(backbone, num_labels, channels, options), **hybrid_settings(channels, options))
    )
    inner = model.model
    refiners = [inner.enc_bbox_head, inner.decoder.pre_bbox_head, *model.bbox_embed]
    start_head(model, [inner.enc_score_head, *model.class_embed], refiners)
    model.loss_function = d_fine_loss
    let_run_ahead(model)
    return model


def d_fine_loss(
    logits: Tensor,
    labels: Targets,
    device: torch.device,
    pred_boxes: Tensor,
    config: DFineConfig,
    outputs_class: Tensor,
    outputs_coord: Tensor,
    enc_topk_logits: Tensor,
    enc_topk_bboxes: Tensor,
    denoising_meta_values: dict[str, Any] | None,
    predicted_corners: Tensor,
    initial_reference_points: Tensor,
) -> tuple[Tensor, Terms, None]:
    """The loss as the model asks for it: all layers, the encoder's proposals, and the denoising queries.

    transformers 5.23 pairs the boxes of every layer with the corner distributions of the next, and leaves the last
    layer without the localisation loss; the paper and this do neither.
    """
    criterion, count = d_fine_criterion(config, device), objects_per_process(labels)
    layers = corner_layers(outputs_class, outputs_coord, predicted_corners, initial_reference_points)
    queries, denoised = split_layers(layers, denoising_meta_values)
    encoder = {"logits": enc_topk_logits, "pred_boxes": enc_topk_bboxes}
    terms = criterion.matched(d_fine_layers(queries), labels, count)
    terms["encoder"] = total(criterion.matched([encoder], labels, count))
    if denoising_meta_values is not None:
        terms["denoising"] = denoising_loss(criterion, d_fine_layers(denoised), labels, denoising_meta_values, count)
    return total(terms), terms, None


def d_fine_criterion(config: DFineConfig, device: torch.device) -> SetCriterion:
    """Varifocal loss 1, L1 5, GIoU 2, fine-grained localisation 0.15 and distillation 1.5, as in the paper."""
    terms = DFineLoss(config).to(device)
    return SetCriterion(terms, terms.weight_dict)


def corner_layers(classes: Tensor, boxes: Tensor, corners: Tensor, references: Tensor) -> list[Prediction]:
    """Predictions of the layers as they come: logits and boxes `(B, L, Q, ...)`, the first maybe without corners."""
    without = classes.shape[1] - corners.shape[1]
    plain = zip(classes[:, :without].unbind(1), boxes[:, :without].unbind(1), strict=True)
    full = zip(
        *(values.unbind(1) for values in (classes[:, without:], boxes[:, without:], corners, references)), strict=True
    )
    return [
        *({"logits": logits, "pred_boxes": layer} for logits, layer in plain),
        *(
            {"logits": logits, "pred_boxes": layer, "pred_corners": distribution, "ref_points": start}
            for logits, layer, distribution, start in full
        ),
    ]


def d_fine_layers(layers: list[Prediction]) -> list[Prediction]:
    """The layers with boxes inside of the image, and the last as the teacher of those before it.

    A box may be turned inside out by its distributions; without the limits, it has no GIoU.
    """
    teacher = {"teacher_corners": layers[-1]["pred_corners"], "teacher_logits": layers[-1]["logits"]}
    return [
        {**layer, "pred_boxes": layer["pred_boxes"].clamp(0, 1), **(teacher if "pred_corners" in layer else {})}
        for layer in layers
    ]


def _decoded_layers(model: PreTrainedModel, decoded: ModelOutput, boxes: Tensor) -> list[Prediction]:
    layers = corner_layers(
        decoded.intermediate_logits,
        decoded.intermediate_reference_points,
        decoded.intermediate_predicted_corners,
        decoded.initial_reference_points,
    )
    return d_fine_layers(layers)


DECODING = Decoding(d_fine_criterion, hybrid_inputs, QUERY_MASK, _decoded_layers)
