"""Object detection: its loss, and the boxes found in whole images."""

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from transformers import PreTrainedConfig

from minorkey.data.sample import Batch
from minorkey.errors import ConfigError, ModelError
from minorkey.evaluation.protocol import DETECTIONS, Protocol
from minorkey.labels import LabelSpace
from minorkey.models.heads.atss.anchors import clipped, in_pixels, scaled
from minorkey.models.heads.detr import box_targets
from minorkey.tasks.box_prediction import DetectionPrediction
from minorkey.tasks.detections import Detections, FoundBoxes

UNIT = 32
"""Pixels in a cell of the pyramid's coarsest level; the encoders want the others to have exactly 2 x 2 and 4 x 4."""


class Detection:
    """Any model of `models.heads.detr.DETECTORS`."""

    prediction_type = DetectionPrediction

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss on a batch, by name; their sum is the loss of the model.

        Terms are divided by the number of objects, averaged over the processes that share the batch, so that the mean
        of their gradients is that of the whole: a process counts its loss once, whatever its share of the objects.
        Images without any object, all of them even, have their part: whatever is found in them is wrong.

        Args:
            model: in training mode or not, wrapped for several processes or not.
            batch: images with boxes. Where their sides are no multiples of 32, they are padded with 0 at the right
                and bottom.

        Returns:
            What the heads name, summed over the layers of the decoder; `encoder` of the first stage's proposals;
            `denoising` (rt_detr_v2 and d_fine, in training, if there is any object); `atss_class`, `atss_box`,
            `atss_centerness` and, if any anchor is assigned, `positives` of an auxiliary head.

        Raises:
            ModelError: the images are too small for the queries.
        """
        assert batch.boxes is not None, "detection learns from batches with boxes"
        assert batch.box_classes is not None
        images = padded(batch.pixel_values)
        _check_places(extract_model_from_parallel(model).config, images)
        targets = box_targets(batch.boxes, batch.box_classes, (images.shape[-2], images.shape[-1]))
        return model(pixel_values=images, labels=targets).loss_dict

    def set_progress(self, model: nn.Module, share: float) -> None:
        """These models learn in the same way from the first step to the last."""

    @torch.no_grad()
    def predict(self, model: nn.Module, pixel_values: Tensor, protocol: Protocol, window_batch: int = 8) -> Detections:
        """What is found in a normalised image `(1, 3, H, W)` under a test protocol.

        Every box may be of every class: of all pairs the best are taken, `protocol.detections` of them. None is
        suppressed here because it overlaps another; a head that does so (atss) gives it a score of 0, and it is left
        out. Boxes end at the edge of the image; those outside are left out.

        Args:
            model: in evaluation mode.
            pixel_values: one image.
            protocol: its long side is resized to `resize`, and padded to a multiple of 32 at the right and bottom.
            window_batch: of no use here, where an image is looked at as a whole.

        Raises:
            ConfigError: the protocol asks for windows, mirrored images or several scales.
            ModelError: the image is too small for the queries.
        """
        check_protocol(protocol)
        config: PreTrainedConfig = extract_model_from_parallel(model).config
        resized = _to_long_side(pixel_values, protocol.resize)
        canvas = padded(resized)
        _check_places(config, canvas)
        output = model(pixel_values=canvas)
        scores, boxes, classes = best(output.logits[0], output.pred_boxes[0], protocol.detections or DETECTIONS)
        shares = _of_image(boxes, canvas, resized)
        corners, inside = _in_pixels(shares, pixel_values.shape[-2], pixel_values.shape[-1])
        found = inside & (scores > 0)
        return Detections(*(kept[found].cpu().numpy() for kept in (corners, scores, classes)))

    def find(self, model: nn.Module, pixel_values: Tensor) -> FoundBoxes:
        """What is found in each of a batch of training crops `(B, 3, H, W)`: the likeliest class of every query."""
        height, width = pixel_values.shape[-2:]
        canvas = padded(pixel_values)
        output = model(pixel_values=canvas)
        scores, classes = output.logits.float().sigmoid().max(dim=-1)
        corners, inside = _in_pixels(_of_image(output.pred_boxes.float(), canvas, pixel_values), height, width)
        return FoundBoxes(corners, scores.where(inside, 0.0), classes)

    def prediction(
        self, said: Detections, image: np.ndarray, space: LabelSpace, probabilities: bool = False
    ) -> DetectionPrediction:
        """The same boxes, to look at and to keep.

        Raises:
            ConfigError: probabilities are asked for.
        """
        if probabilities:
            raise ConfigError("detection has scores of boxes and no probabilities of pixels; leave probabilities out")
        return DetectionPrediction(said.boxes, said.scores, said.classes, image, space)


def padded(images: Tensor) -> Tensor:
    """Images `(B, 3, H, W)` with 0, the mean colour, at the right and bottom, up to multiples of 32."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % UNIT, 0, -height % UNIT))


def best(logits: Tensor, boxes: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest pairs of query and class.

    Args:
        logits: `(Q, K)`.
        boxes: `(Q, 4)`.
        most: how many pairs.

    Returns:
        Scores `(N,)` float32, descending, boxes `(N, 4)` float32 and classes `(N,)` int64.
    """
    scores, pairs = logits.float().sigmoid().flatten().topk(min(most, logits.numel()))
    return scores, boxes.float()[pairs // logits.shape[1]], pairs % logits.shape[1]


def check_protocol(protocol: Protocol) -> None:
    """Refuse what detection has no use for.

    Raises:
        ConfigError: the protocol asks for windows, mirrored images or several scales.
    """
    asked = {"window": protocol.window is not None, "flip": protocol.flip, "scales": protocol.scales != (1.0,)}
    if any(asked.values()):
        names = " and ".join(f"evaluation.{name}" for name, wanted in asked.items() if wanted)
        raise ConfigError(f"detection looks at an image once and as a whole; leave out {names}")


def _check_places(config: PreTrainedConfig, images: Tensor) -> None:
    """Raise `ModelError` where the first stage has fewer places to choose from than queries to choose."""
    height, width = images.shape[-2:]
    places = sum((height // stride) * (width // stride) for stride in (8, 16, 32))
    if places < config.num_queries:
        raise ModelError(
            f"an image of {height} x {width} pixels has {places} places for {config.num_queries} queries; "
            f"set head.queries to {places} or less, or take larger images"
        )


def _of_image(boxes: Tensor, canvas: Tensor, image: Tensor) -> Tensor:
    """Boxes `(..., 4)`, centre x y, width and height, as shares of an image, from shares of the canvas around it."""
    (height, width), (filled_height, filled_width) = canvas.shape[-2:], image.shape[-2:]
    return scaled(boxes, (height / filled_height, width / filled_width))


def _in_pixels(shares: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Corners `(..., 4)` in pixels, within the image, and which of them `(...)` have an area."""
    corners = clipped(in_pixels(shares, (height, width)), (height, width))
    return corners, (corners[..., 2:] > corners[..., :2]).all(dim=-1)


def _to_long_side(images: Tensor, long_side: int | None) -> Tensor:
    if long_side is None:
        return images
    height, width = images.shape[-2:]
    factor = long_side / max(height, width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)
