"""RT-DETRv2 (arXiv 2407.17140): transformers' own, on the last three levels of the pyramid."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, RTDetrV2Config, RTDetrV2ForObjectDetection

from minorkey.errors import ModelError
from minorkey.models.heads.detection.collaborative import Decoding
from minorkey.models.heads.detection.detr import DECODER_LAYERS, check_width, objects_per_process, shared_settings
from minorkey.models.heads.detr_start import start_head
from minorkey.models.heads.run_ahead import let_run_ahead
from minorkey.models.heads.set_criterion import (
    ABSENT,
    Assigned,
    MatchCosts,
    Objects,
    Prediction,
    SetCriterion,
    Targets,
    Terms,
    padded,
    total,
    varifocal_loss,
)
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
    model.loss_function = HybridLoss(rt_detr_v2_criterion, rt_detr_v2_layers)
    bound_denoising(model)
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


@dataclass(frozen=True)
class HybridLoss:
    """The loss as RT-DETRv2 and D-FINE ask for it: all layers, the encoder's proposals, and the denoising queries.

    Args:
        criterion: of a configuration.
        layers: from classes, boxes, corners and reference points `(B, L, Q, ...)` to predictions of the layers.
        judged: what of these is compared with the targets, unless as they are.
    """

    criterion: Callable[[Any], SetCriterion]
    layers: Callable[..., Prediction]
    judged: Callable[[Prediction], Prediction] = dict

    def __call__(
        self,
        logits: Tensor,
        labels: Targets,
        device: torch.device,
        pred_boxes: Tensor,
        config: PreTrainedConfig,
        outputs_class: Tensor,
        outputs_coord: Tensor,
        enc_topk_logits: Tensor,
        enc_topk_bboxes: Tensor,
        denoising_meta_values: dict[str, Any] | None,
        predicted_corners: Tensor | None,
        initial_reference_points: Tensor | None,
    ) -> tuple[Tensor, Terms, None]:
        """The sum of the terms, and the terms."""
        criterion, count, objects = self.criterion(config), objects_per_process(labels), padded(labels)
        layers = self.layers(outputs_class, outputs_coord, predicted_corners, initial_reference_points)
        queries, denoised = split_layers(layers, denoising_meta_values)
        encoder = {"logits": enc_topk_logits[None], "pred_boxes": enc_topk_bboxes[None]}
        terms, of_encoder = criterion.matched([(self.judged(queries), objects), (encoder, objects)], count)
        terms["encoder"] = total(of_encoder)
        if denoising_meta_values is not None:
            noisy, given = self.judged(denoised), padded(thinned(labels, config.num_queries))
            terms["denoising"] = denoising_loss(criterion, noisy, given, denoising_meta_values, count)
        return total(terms), terms, None


def rt_detr_v2_criterion(config: RTDetrV2Config) -> SetCriterion:
    """Varifocal loss 1, L1 5 and GIoU 2, the weights of the paper."""
    weights = {
        "loss_vfl": config.weight_loss_vfl,
        "loss_bbox": config.weight_loss_bbox,
        "loss_giou": config.weight_loss_giou,
    }
    return SetCriterion(
        "loss_vfl", varifocal_loss(config.focal_loss_alpha, config.focal_loss_gamma), weights, hybrid_costs(config)
    )


def hybrid_costs(config: PreTrainedConfig) -> MatchCosts:
    """Of class, L1 and GIoU in the matching of RT-DETRv2 and D-FINE."""
    return MatchCosts(
        config.matcher_class_cost,
        config.matcher_bbox_cost,
        config.matcher_giou_cost,
        config.matcher_alpha,
        config.matcher_gamma,
    )


def rt_detr_v2_layers(classes: Tensor, boxes: Tensor, *others: Any) -> Prediction:
    """Predictions of the layers, from logits `(B, L, Q, K)` and boxes `(B, L, Q, 4)`; they have nothing else."""
    return {"logits": classes.transpose(0, 1), "pred_boxes": boxes.transpose(0, 1)}


def bound_denoising(model: PreTrainedModel) -> None:
    """Let at most as many objects of an image be denoised as there are queries to find any, in place.

    There are two denoising queries an object, and their attention takes memory by the square of that: 10 000 boxes in
    an image would take gigabytes.
    """
    model.model.register_forward_pre_hook(_thin_labels, with_kwargs=True)


def _thin_labels(inner: PreTrainedModel, inputs: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    labels = named.get("labels")
    if labels is None:
        return inputs, named
    return inputs, {**named, "labels": thinned(labels, inner.config.num_queries)}


def thinned(targets: Targets, most: int) -> Targets:
    """The targets with at most so many objects in each image, evenly from first to last where there are more."""
    return [_thinned(image, most) for image in targets]


def _thinned(image: dict[str, Tensor], most: int) -> dict[str, Tensor]:
    count = len(image["class_labels"])
    if count <= most:
        return image
    places = torch.arange(most, device=image["boxes"].device) * count // most
    return {"class_labels": image["class_labels"][places], "boxes": image["boxes"][places]}


def split_layers(layers: Prediction, meta: dict[str, Any] | None) -> tuple[Prediction, Prediction]:
    """The queries of the layers, and those before them that are denoised in training."""
    noisy = 0 if meta is None else meta["dn_num_split"][0]
    ours = {name: value[:, :, noisy:] for name, value in layers.items()}
    return ours, {name: value[:, :, :noisy] for name, value in layers.items()}


def denoising_loss(
    criterion: SetCriterion, layers: Prediction, objects: Objects, meta: dict[str, Any], count: Tensor | float
) -> Tensor:
    """The loss of queries that start at objects with noise.

    Of each group the first half starts near the objects and is to find them, the second starts far off.
    """
    groups = 2 * meta["dn_num_group"]
    far = torch.arange(groups, device=objects.classes.device).remainder(2).repeat_interleave(objects.classes.shape[1])
    classes = objects.classes.repeat(1, groups).masked_fill(far.bool(), ABSENT)
    given = Assigned(objects.boxes.repeat(1, groups, 1)[None], classes[None])
    return total(criterion.assigned(layers, given, count * meta["dn_num_group"]))


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
