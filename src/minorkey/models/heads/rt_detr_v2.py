"""RT-DETRv2 (arXiv 2407.17140): transformers' own, on the last three levels of the pyramid."""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, RTDetrV2Config, RTDetrV2ForObjectDetection
from transformers.loss.loss_rt_detr import RTDetrLoss

from minorkey.errors import ModelError
from minorkey.models.heads.collaborative import Decoding
from minorkey.models.heads.detr import (
    DECODER_LAYERS,
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
from minorkey.models.heads.run_ahead import let_run_ahead
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidConfig

ENCODER_LAYERS = 1
"""Of attention, on the coarsest level alone, unless told otherwise."""

EPSILON = 1e-5
"""Least share of an image that has a logit, as in transformers."""


def build_rt_detr_v2(
    backbone: PyramidConfig, num_labels: int, channels: int, options: HeadOptions
) -> RTDetrV2ForObjectDetection:
    """An RT-DETRv2 with random weights around a pyramid of strides 8, 16, 32, with the settings of the paper's L.

    Raises:
        ModelError: the width does not divide into attention heads, or the decoder is to have a single layer.
    """
    check_width(channels, "rt_detr_v2")
    model = RTDetrV2ForObjectDetection(
        RTDetrV2Config(**shared_settings(backbone, num_labels, channels, options), **hybrid_settings(channels, options))
    )
    start_head(model, [model.model.enc_score_head, *model.class_embed], [model.model.enc_bbox_head, *model.bbox_embed])
    model.loss_function = rt_detr_v2_loss
    let_run_ahead(model)
    return model


def hybrid_settings(channels: int, options: HeadOptions) -> dict[str, Any]:
    """What RT-DETRv2 and D-FINE, whose encoders are alike, call by one name.

    Batch norms of the backbone stay what they are: whether they learn is the adaptation method's to say.

    Raises:
        ModelError: the decoder is to have a single layer, which these models of transformers cannot be built with.
    """
    if options.decoder_layers == 1:
        raise ModelError(f"head.decoder_layers is 1; {options.name} takes 2 or more, as a rule {DECODER_LAYERS}")
    return {
        "encoder_layers": options.encoder_layers or ENCODER_LAYERS,
        "encoder_hidden_dim": channels,
        "decoder_in_channels": [channels] * 3,
        "freeze_backbone_batch_norms": False,
    }


def rt_detr_v2_loss(
    logits: Tensor,
    labels: Targets,
    device: torch.device,
    pred_boxes: Tensor,
    config: RTDetrV2Config,
    outputs_class: Tensor,
    outputs_coord: Tensor,
    enc_topk_logits: Tensor,
    enc_topk_bboxes: Tensor,
    denoising_meta_values: dict[str, Any] | None,
    predicted_corners: Tensor | None,
    initial_reference_points: Tensor | None,
) -> tuple[Tensor, Terms, None]:
    """The loss as the model asks for it: all layers, the encoder's proposals, and the denoising queries."""
    criterion, count = rt_detr_v2_criterion(config, device), objects_per_process(labels)
    encoder = {"logits": enc_topk_logits, "pred_boxes": enc_topk_bboxes}
    queries, denoised = split_layers(rt_detr_v2_layers(outputs_class, outputs_coord), denoising_meta_values)
    terms = criterion.matched(queries, labels, count)
    terms["encoder"] = total(criterion.matched([encoder], labels, count))
    if denoising_meta_values is not None:
        terms["denoising"] = denoising_loss(criterion, denoised, labels, denoising_meta_values, count)
    return total(terms), terms, None


def rt_detr_v2_criterion(config: RTDetrV2Config, device: torch.device) -> SetCriterion:
    """Varifocal loss 1, L1 5 and GIoU 2, the weights of the paper."""
    terms = RTDetrLoss(config).to(device)
    return SetCriterion(terms, terms.weight_dict)


def rt_detr_v2_layers(classes: Tensor, boxes: Tensor) -> list[Prediction]:
    """Predictions of the layers, from logits `(B, L, Q, K)` and boxes `(B, L, Q, 4)`."""
    return [
        {"logits": logits, "pred_boxes": layer}
        for logits, layer in zip(classes.unbind(1), boxes.unbind(1), strict=True)
    ]


def split_layers(layers: list[Prediction], meta: dict[str, Any] | None) -> tuple[list[Prediction], list[Prediction]]:
    """The queries of the layers, and those before them that are denoised in training."""
    if meta is None:
        return layers, []
    noisy = meta["dn_num_split"][0]
    ours = [{name: value[:, noisy:] for name, value in layer.items()} for layer in layers]
    theirs = [{name: value[:, :noisy] for name, value in layer.items()} for layer in layers]
    return ours, theirs


def denoising_loss(
    criterion: SetCriterion, layers: list[Prediction], targets: Targets, meta: dict[str, Any], count: float
) -> Tensor:
    """The loss of queries that start at objects with noise, each group of which has one for every object."""
    indices = criterion.terms.get_cdn_matched_indices(meta, targets)
    return total(criterion.assigned(layers, targets, indices, count * meta["dn_num_group"]))


def hybrid_inputs(model: PreTrainedModel, features: Tensor, boxes: Tensor) -> dict[str, Any]:
    """Inputs of the decoder for queries at boxes `(B, P, 4)`, made as those of the proposals are.

    Args:
        model: an RT-DETRv2 or a D-FINE.
        features: `(B, P, C)`, the encoder's where the boxes come from.
        boxes: centre x y, width and height, as shares of the image.
    """
    return {
        "inputs_embeds": model.model.enc_output(features).detach(),
        "reference_points": boxes.logit(EPSILON),
    }


QUERY_MASK = "encoder_attention_mask"
"""The decoder's input that is a mask of queries, despite its name."""

DECODING = Decoding(
    rt_detr_v2_criterion,
    hybrid_inputs,
    QUERY_MASK,
    lambda model, decoded, boxes: rt_detr_v2_layers(decoded.intermediate_logits, decoded.intermediate_reference_points),
)
