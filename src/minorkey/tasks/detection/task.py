"""Object detection: its loss, and the boxes found in whole images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from minorkey.data.records import Record, box_record
from minorkey.data.sample import Batch, Sample
from minorkey.data.transforms import TransformConfig, brought_to
from minorkey.errors import ConfigError, ImageSizeError
from minorkey.labels import LabelSpace
from minorkey.models.detectors import DETECTION_HEADS
from minorkey.models.heads.detection.atss.anchors import clipped, in_pixels, scaled
from minorkey.models.heads.detection.atss.detector import SUPPRESSED, AtssConfig
from minorkey.models.heads.detection.atss.overlap import iou
from minorkey.models.heads.detection.detr import box_targets
from minorkey.tasks.base import Task
from minorkey.tasks.counts import Counts
from minorkey.tasks.deployed import Deployed, Outputs, Scale, Size
from minorkey.tasks.detection import gallery
from minorkey.tasks.detection.check import COUNTED, draw_labels
from minorkey.tasks.detection.crops import box_transform
from minorkey.tasks.detection.deployed import deployed, from_deployed
from minorkey.tasks.detection.detections import Detections, FoundBoxes
from minorkey.tasks.detection.exported import exported
from minorkey.tasks.detection.labels import BoxLabels, HostBoxes, join_boxes
from minorkey.tasks.detection.metric import METRICS
from minorkey.tasks.detection.padding import padded
from minorkey.tasks.detection.prediction import DetectionPrediction
from minorkey.tasks.detection.pseudo_labels import BoxLabeller, BoxSelfTrainingOptions
from minorkey.tasks.exported import Exported
from minorkey.tasks.gallery import GalleryWords, Kept
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.self_training import Colours
from minorkey.tasks.sliding import default_stride, window_boxes

if TYPE_CHECKING:
    from minorkey.config import RunConfig

SAME = 0.6
"""IoU above which boxes of one class that neighbouring tiles found are one object; ATSS's own value."""
FROM_TILES = 20
"""Boxes from tiles that are compared with one another, per box that may be kept: the comparison is quadratic."""


class Candidates(NamedTuple):
    """N boxes of one image on the device, and which of them are found: to leave out the others would mean to wait."""

    corners: Tensor  # (N, 4) in pixels
    scores: Tensor  # (N,)
    classes: Tensor  # (N,)
    kept: Tensor  # (N,) bool


class Detection(Task):
    """Boxes and their classes: any model of `models.heads.detection.detr.DETECTORS`."""

    name = "detection"
    annotation = "boxes"
    heads = DETECTION_HEADS
    default_head = "rt_detr_v2"
    metrics = METRICS
    counted = COUNTED
    demo = "world_weather"
    builtin_head = "detector"
    prediction_type = DetectionPrediction
    self_training = BoxSelfTrainingOptions
    unused_transforms = ("crop_area", "grey")
    unused = dict.fromkeys(
        ("window", "flip", "classes", "scales"), "is for segmentation; detection sees whole images, once"
    ) | {"absent": "is for segmentation; AP leaves out classes without objects"}

    def crop(
        self, sample: Sample, config: TransformConfig, rng: np.random.Generator, wanted: int | None = None
    ) -> Sample:
        """A random crop with the boxes that it shows."""
        assert wanted is None, "classes are counted, and wanted, in pixels"
        return box_transform(sample, config, rng)

    def collate(self, samples: Sequence[Sample], size: tuple[int, int]) -> HostBoxes | None:
        """The boxes of all images, without crowd; None where an image of them is not labelled."""
        return join_boxes(samples)

    def counts(self, model: nn.Module, labels: HostBoxes | None) -> Counts:
        """The objects, by which the criteria divide."""
        return Counts(objects=0 if labels is None else len(labels.boxes), averaged=frozenset())

    def loss(self, model: nn.Module, batch: Batch, weights: Tensor | None = None) -> dict[str, Tensor]:
        """The terms of the loss on a batch, by name; their sum is the loss of the model.

        Terms are divided by the number of objects, averaged over the processes that share the batch, so that the mean
        of their gradients is that of the whole: a process counts its loss once, whatever its share of the objects.
        Images without any object, all of them even, have their part: whatever is found in them is wrong.

        Args:
            model: in training mode or not, wrapped for several processes or not.
            batch: images with boxes. Where their sides are no multiples of 32, they are padded with 0 at the right
                and bottom.
            weights: None; boxes have none.

        Returns:
            What the heads name, summed over the layers of the decoder; `encoder` of the first stage's proposals;
            `denoising` (rt_detr_v2 and d_fine, in training, if there is any object); `atss_class`, `atss_box`,
            `atss_centerness` and, if any anchor is assigned, `positives` of an auxiliary head.

        Raises:
            ImageSizeError: the images are too small for the queries.
        """
        labels = batch.labels
        assert isinstance(labels, BoxLabels), "detection learns from batches with boxes"
        assert weights is None, "boxes have no weights"
        images = padded(batch.pixel_values)
        _check_places(extract_model_from_parallel(model).config, images)
        targets = box_targets(labels.boxes, labels.classes, (images.shape[-2], images.shape[-1]))
        return model(pixel_values=images, labels=targets).loss_dict

    @torch.no_grad()
    def predict(self, model: nn.Module, pixel_values: Tensor, protocol: Protocol, window_batch: int = 8) -> Detections:
        """What is found in a normalised image `(1, 3, H, W)` under a test protocol.

        Every box may be of every class: of all pairs the best are taken, `protocol.detections` of them. None is
        suppressed here because it overlaps another; a head that does so (atss) gives it a score of 0, and it is left
        out. Boxes end at the edge of the image; those outside are left out.

        Args:
            model: in evaluation mode.
            pixel_values: one image.
            protocol: its long side is resized to `resize`, filtered as in training, and padded to a multiple of 32 at
                the right and bottom.
            window_batch: the most tiles in a pass.

        Raises:
            ConfigError: the protocol asks for windows, mirrored images or several scales.
            ImageSizeError: the image is too small for the queries.
        """
        return _found(self.start(model, pixel_values, protocol, window_batch)[0])

    @torch.no_grad()
    def start(
        self, model: nn.Module, pixel_values: Tensor, protocol: Protocol, window_batch: int = 8
    ) -> list[Candidates]:
        """What is found in each of B images, as tensors on the model's device.

        With `protocol.tile`, the network looks at tiles that overlap by a third, in native size. What the
        tiles find is put together: of boxes of one class that overlap by more than `SAME` the surest is kept.
        """
        check_protocol(protocol)
        if protocol.tile is None:
            return self._look(model, pixel_values, protocol)
        return [self._look_by_tiles(model, image, protocol, protocol.tile, window_batch) for image in pixel_values]

    def finish(self, started: Candidates, image: np.ndarray, space: LabelSpace) -> DetectionPrediction:
        """What `start` gave of one image, once the device has it."""
        return self.prediction(_found(started), image, space)

    def _look(self, model: nn.Module, images: Tensor, protocol: Protocol) -> list[Candidates]:
        config: PreTrainedConfig = extract_model_from_parallel(model).config
        resized = _to_long_side(images, protocol.resize)
        canvas = padded(resized)
        _check_places(config, canvas)
        output = model(pixel_values=canvas)
        seen = []
        for logits, places in zip(output.logits, output.pred_boxes, strict=True):
            scores, boxes, classes = best(logits, places, protocol.most_detections)
            shares = _of_image(boxes, canvas, resized)
            corners, inside = _in_pixels(shares, images.shape[-2], images.shape[-1])
            seen.append(Candidates(corners, scores, classes, inside & (scores > 0)))
        return seen

    def _look_by_tiles(
        self, model: nn.Module, image: Tensor, protocol: Protocol, tile: tuple[int, int], window_batch: int
    ) -> Candidates:
        height, width = image.shape[-2:]
        below, right = max(0, tile[0] - height), max(0, tile[1] - width)
        image = F.pad(image, (0, right, 0, below))
        places = window_boxes(height + below, width + right, tile, default_stride(tile))
        limits = image.new_tensor([width, height] * 2)
        seen: list[Candidates] = []
        for start in range(0, len(places), window_batch):
            chunk = places[start : start + window_batch]
            crops = torch.stack([image[:, y0:y1, x0:x1] for y0, x0, y1, x1 in chunk])
            for (y0, x0, _, _), found in zip(chunk, self._look(model, crops, protocol), strict=True):
                corners = (found.corners + found.corners.new_tensor([x0, y0] * 2)).minimum(limits)
                seen.append(found._replace(corners=corners, kept=found.kept & _have_area(corners)))
        merged = Candidates(*(torch.cat(column) for column in zip(*seen, strict=True)))
        return _surest(merged, protocol.most_detections)

    def pseudo_labeller(self, options: Any, classes: int, colours: Colours) -> BoxLabeller:
        """By `find`; the colours of what is learnt are distorted already."""
        return BoxLabeller(self, options, classes)

    def find(self, model: nn.Module, pixel_values: Tensor, filled: Tensor) -> FoundBoxes:
        """What is found in each of a batch of training crops `(B, 3, H, W)`: the likeliest class of every query.

        Args:
            model: the detector.
            pixel_values: the crops.
            filled: `(B, H, W)` bool, false at the right and bottom where a crop is larger than its image.
        """
        canvas = padded(pixel_values)
        output = model(pixel_values=canvas)
        logits = output.logits.float()
        # One whose likeliest class a surer box has is that object again, and not one of its second class.
        classes = logits.where(logits > SUPPRESSED / 2, logits - SUPPRESSED).argmax(dim=-1)
        scores = logits.gather(-1, classes[..., None])[..., 0].sigmoid()
        size = pixel_values.shape[-2], pixel_values.shape[-1]
        corners = in_pixels(_of_image(output.pred_boxes.float(), canvas, pixel_values), size)
        height, width = filled.any(dim=2).sum(dim=1), filled.any(dim=1).sum(dim=1)
        limits = torch.stack([width, height] * 2, dim=-1)[:, None].to(corners)
        corners = corners.clamp(min=0).minimum(limits)
        return FoundBoxes(corners, scores.where(_have_area(corners), 0.0), classes)

    def prediction(
        self, output: Detections, image: np.ndarray, space: LabelSpace, probabilities: bool = False
    ) -> DetectionPrediction:
        """The same boxes, to look at and to keep.

        Raises:
            ConfigError: probabilities are asked for.
        """
        if probabilities:
            raise ConfigError("detection has scores of boxes and no probabilities of pixels; leave probabilities out")
        return DetectionPrediction(output.boxes, output.scores, output.classes, image, space)

    def record(self, sample: Sample, classes: int) -> Record:
        """The boxes of each class; crowds, tiny ones and those that were clipped."""
        return box_record(sample, classes)

    def draw_labels(self, sample: Sample, image: np.ndarray, space: LabelSpace) -> np.ndarray | None:
        """The image with boxes and their names, crowds in grey."""
        return draw_labels(sample, image, space)

    def protocol(self, config: "RunConfig") -> dict[str, Any]:
        """How many detections of an image count."""
        return {"detections": config.evaluation.detections}

    def exported(self, model: PreTrainedModel) -> Exported:
        """The stock classes and processors for it, and how its outputs are read."""
        return exported(model)

    def deployed(self, model: PreTrainedModel, protocol: Protocol, scale: Scale) -> Deployed:
        """What of it goes into one graph."""
        if scale != "full":
            raise ConfigError(f"--coarse is for the scores of pixels, which {self.name} has none of; leave it out")
        return deployed(model, protocol.most_detections)

    def from_deployed(self, outputs: Outputs, canvas: Size, size: Size) -> ModelOutput:
        """What a model would have given."""
        return from_deployed(outputs, size)

    def keep(self, sample: Sample, prediction: DetectionPrediction, folder: Path) -> None:
        """Write `image.png` and `boxes.json`: `truth` and `prediction`, boxes in pixels with the names of classes."""
        gallery.keep(sample, prediction, folder)

    def scene(self, kept: Kept, space: LabelSpace) -> gallery.BoxScene:
        """The image, its truth, and what each run predicted and got wrong."""
        return gallery.scene(kept, space)

    def classes_shown(self, folders: Sequence[Path], space: LabelSpace) -> set[int]:
        """Those of the truth and of the boxes that are shown."""
        return gallery.classes_shown(folders, space)

    def gallery_words(self) -> GalleryWords:
        """What stands around the scenes."""
        return gallery.words()


def _found(seen: Candidates) -> Detections:
    corners, scores, classes, kept = (column.cpu().numpy() for column in seen)
    return Detections(corners[kept], scores[kept], classes[kept])


def _surest(seen: Candidates, most: int) -> Candidates:
    """The `most` surest boxes that no surer one of their class overlaps, the surest first."""
    ranks = torch.where(seen.kept, seen.scores, -1)
    places = ranks.topk(min(len(ranks), FROM_TILES * most)).indices
    boxes, scores, classes, kept = (column[places] for column in seen)
    near = iou(boxes[:, None], boxes[None]).nan_to_num() > SAME
    surer = torch.ones_like(near).tril(-1)  # they are sorted
    alone = kept & ~(near & surer & (classes[:, None] == classes[None])).any(dim=1)
    first = torch.where(alone, scores, -1).topk(min(len(scores), most)).indices
    return Candidates(boxes[first], scores[first], classes[first], alone[first])


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
        raise ConfigError(f"detection looks at an image once, and chooses windows itself; leave out {names}")


def _check_places(config: PreTrainedConfig, images: Tensor) -> None:
    """Raise `ImageSizeError` where the first stage has fewer places to choose from than queries to choose.

    Anchors that are fewer are all taken.
    """
    if isinstance(config, AtssConfig):
        return
    height, width = images.shape[-2:]
    places = sum((height // stride) * (width // stride) for stride in (8, 16, 32))
    if places < config.num_queries:
        raise ImageSizeError(
            f"an image of {height} x {width} pixels has {places} places for {config.num_queries} queries; "
            f"take larger images, or train with head.queries={places} or less"
        )


def _of_image(boxes: Tensor, canvas: Tensor, image: Tensor) -> Tensor:
    """Boxes `(..., 4)`, centre x y, width and height, as shares of an image, from shares of the canvas around it."""
    (height, width), (filled_height, filled_width) = canvas.shape[-2:], image.shape[-2:]
    return scaled(boxes, (height / filled_height, width / filled_width))


def _in_pixels(shares: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Corners `(..., 4)` in pixels, within the image, and which of them `(...)` have an area."""
    corners = clipped(in_pixels(shares, (height, width)), (height, width))
    return corners, _have_area(corners)


def _have_area(corners: Tensor) -> Tensor:
    """Which boxes `(..., 4)` cover anything, `(...)`."""
    return (corners[..., 2:] > corners[..., :2]).all(dim=-1)


def _to_long_side(images: Tensor, long_side: int | None) -> Tensor:
    if long_side is None:
        return images
    height, width = images.shape[-2:]
    factor = long_side / max(height, width)
    return brought_to(images, (max(1, round(height * factor)), max(1, round(width * factor))))
