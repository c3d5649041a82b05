"""D-FINE (arXiv 2410.13842): transformers' own, on the last three levels of the pyramid."""

from torch import Tensor
from transformers import DFineConfig, DFineForObjectDetection, PreTrainedModel
from transformers.utils import ModelOutput

from minorkey.models.heads.detection.collaborative import Decoding
from minorkey.models.heads.detection.detr import check_width, shared_settings
from minorkey.models.heads.detection.rt_detr_v2 import (
    QUERY_MASK,
    HybridLoss,
    bound_denoising,
    hybrid_costs,
    hybrid_inputs,
    hybrid_settings,
)
from minorkey.models.heads.detr_start import start_head
from minorkey.models.heads.distributions import EdgeLosses
from minorkey.models.heads.run_ahead import let_run_ahead
from minorkey.models.heads.set_criterion import Prediction, SetCriterion, varifocal_loss
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
    # transformers 5.23 pairs the boxes of every layer with the corner distributions of the next, and leaves the last
    # layer without the localisation loss; the paper and this do neither.
    model.loss_function = HybridLoss(d_fine_criterion, corner_layers, d_fine_layers)
    bound_denoising(model)
    let_run_ahead(model)
    return model


def d_fine_criterion(config: DFineConfig) -> SetCriterion:
    """Varifocal loss 1, L1 5, GIoU 2, fine-grained localisation 0.15 and distillation 1.5, as in the paper."""
    weights = {
        "loss_vfl": config.weight_loss_vfl,
        "loss_bbox": config.weight_loss_bbox,
        "loss_giou": config.weight_loss_giou,
        "loss_fgl": config.weight_loss_fgl,
        "loss_ddf": config.weight_loss_ddf,
    }
    of_class = varifocal_loss(config.focal_loss_alpha, config.focal_loss_gamma)
    edges = EdgeLosses(config.max_num_bins, config.up, config.reg_scale)
    return SetCriterion("loss_vfl", of_class, weights, hybrid_costs(config), edges)


def corner_layers(classes: Tensor, boxes: Tensor, corners: Tensor, references: Tensor) -> Prediction:
    """Predictions of the layers as they come, `(B, L, Q, ...)`, the first maybe without corners."""
    given = {"logits": classes, "pred_boxes": boxes, "pred_corners": corners, "ref_points": references}
    return {name: values.transpose(0, 1) for name, values in given.items()}


def d_fine_layers(layers: Prediction) -> Prediction:
    """The layers with boxes inside of the image, and the last as the teacher of those before it.

    A box may be turned inside out by its distributions; without the limits, it has no GIoU.
    """
    teacher = {"teacher_corners": layers["pred_corners"][-1:], "teacher_logits": layers["logits"][-1:]}
    return layers | teacher | {"pred_boxes": layers["pred_boxes"].clamp(0, 1)}


def _decoded_layers(model: PreTrainedModel, decoded: ModelOutput, boxes: Tensor) -> Prediction:
    layers = corner_layers(
        decoded.intermediate_logits,
        decoded.intermediate_reference_points,
        decoded.intermediate_predicted_corners,
        decoded.initial_reference_points,
    )
    return d_fine_layers(layers)


DECODING = Decoding(d_fine_criterion, hybrid_inputs, QUERY_MASK, _decoded_layers)
