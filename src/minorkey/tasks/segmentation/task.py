"""Semantic segmentation: its loss, and the class probabilities of whole images.

Here, and in `class_scores.py`, models of logits per pixel are told from models of masks (`MASK_MODELS`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from minorkey.data.loaders import stack
from minorkey.data.records import Record, pixel_record
from minorkey.data.sample import Batch, Sample
from minorkey.data.transforms import TransformConfig
from minorkey.labels import IGNORE_INDEX, LabelSpace
from minorkey.models.heads.segmentation.eomt import set_progress
from minorkey.models.heads.segmentation.masks import MASK_MODELS
from minorkey.models.heads.segmentation.pixel_loss import PixelLoss
from minorkey.models.options import LOSS_OPTIONS, HeadOptions
from minorkey.models.segmenters import SEGMENTATION_HEADS
from minorkey.tasks.base import Task
from minorkey.tasks.counts import Counts
from minorkey.tasks.deployed import Deployed, Outputs, Scale, Size
from minorkey.tasks.exported import Exported
from minorkey.tasks.gallery import GalleryWords, Kept, Scene
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.segmentation import gallery
from minorkey.tasks.segmentation.batch_losses import Scored, mask_loss, pixel_loss
from minorkey.tasks.segmentation.check import COUNTED, draw_labels
from minorkey.tasks.segmentation.class_scores import (
    likeliest,
    mask_scores,
    normalised,
    pixel_logits,
    reader_of,
    resize_to,
    resized,
    resized_bands,
)
from minorkey.tasks.segmentation.crops import train_transform
from minorkey.tasks.segmentation.deployed import deployed, from_deployed
from minorkey.tasks.segmentation.exported import exported
from minorkey.tasks.segmentation.metric import METRICS
from minorkey.tasks.segmentation.prediction import SegmentationPrediction
from minorkey.tasks.segmentation.pseudo_labels import PixelLabeller, PixelSelfTrainingOptions
from minorkey.tasks.self_training import Colours
from minorkey.tasks.sliding import default_stride, sliding_bands, sliding_logits

if TYPE_CHECKING:
    from minorkey.config import RunConfig

CLASS_TERM = "loss_cross_entropy"
"""The term of a mask head that is a mean over its queries, weighted by what they are to say."""


class Segmentation(Task):
    """Classes of pixels: any model of transformers for semantic segmentation, or universal segmentation by masks."""

    name = "segmentation"
    annotation = "pixels"
    heads = SEGMENTATION_HEADS
    default_head = "semfpn"
    fewest_classes = 2
    metrics = METRICS
    counted = COUNTED
    pictured = True
    demo = "demo"
    demo_note = (
        "This backbone has seen most weathers of the world, without labels, and what it knows lies in the major "
        "components of its weights: without the minor eighth of each it loses 0.1 points, without the major one 55 to "
        "62 (docs/knockout.md). So SoMA, which tunes the minor part, has little to change here, and little to break."
    )
    builtin_head = "segmenter"
    main_term = "segmentation"
    loss_options = loss_alone = frozenset(LOSS_OPTIONS)
    prediction_type = SegmentationPrediction
    self_training = PixelSelfTrainingOptions
    unused_transforms = ("crop_area", "grey")
    unused = dict.fromkeys(("detections",), "is for detection")

    def check(self, config: "RunConfig") -> None:
        """Refuse what belongs to boxes, and terms of a loss to a head that has its own."""
        super().check(config)
        head = config.head
        if head.of_loss and self.heads.resolve(head.name).own_loss:
            raise ValueError(
                f"head.{head.of_loss[0]} is for heads of logits per pixel; {head.name} learns masks by a loss of its "
                "own: leave it out"
            )
        if config.transform.scale_jitter is not None:
            raise ValueError("transform.scale_jitter is for detection; give scale_ratios")
        window, crop = config.evaluation.window, config.transform.crop
        if window is not None and window != crop and self.heads.resolve(head.name).one_size:
            raise ValueError(
                f"evaluation.window is {list(window)}, but {head.name} takes images in the size of its training "
                f"crops alone, {list(crop)}; leave the window out"
            )

    def build(self, backbone: PreTrainedModel, head: HeadOptions, num_labels: int, seed: int) -> PreTrainedModel:
        """A model around a loaded backbone, which learns by the terms that the head's options name."""
        model = super().build(backbone, head, num_labels, seed)
        if head.of_loss and not self.heads.resolve(head.name).own_loss:
            model.pixel_loss = PixelLoss(head.loss, head.weights_of(num_labels), head.focal_gamma)
        return model

    def crop(
        self, sample: Sample, config: TransformConfig, rng: np.random.Generator, wanted: int | None = None
    ) -> Sample:
        """A random crop with its label image."""
        return train_transform(sample, config, rng, wanted)

    def collate(self, samples: Sequence[Sample], size: tuple[int, int]) -> Tensor:
        """Label images `(B, H, W)` uint8, IGNORE_INDEX where there is no image or no label."""
        return stack([sample.labels for sample in samples], size, fill=IGNORE_INDEX)

    def counts(self, model: nn.Module, labels: Tensor) -> Counts:
        """The labelled pixels; of mask models the queries, by the weight of what each is to say, and the masks.

        Queries of an image without a labelled pixel say nothing that is right or wrong.
        """
        if not isinstance(model, MASK_MODELS):
            return Counts(int((labels != IGNORE_INDEX).sum()))
        masks = [count for count in map(_classes_present, labels) if count]
        queries, idle = model.config.num_queries, model.config.no_object_weight
        matched = sum(min(count, queries) for count in masks)
        return Counts(matched + idle * (len(masks) * queries - matched), sum(masks), frozenset({CLASS_TERM}))

    def loss(self, model: nn.Module, batch: Batch, weights: Tensor | None = None) -> dict[str, Tensor]:
        """The terms of the loss on a batch, by name; their sum is the loss.

        Args:
            model: in training mode or not, wrapped for several processes or not.
            batch: images and labels.
            weights: `(B, H, W)` of the pixels, 0 ... 1; None: all 1. The criterion of a mask model weighs no single
                pixels, so its terms, over those that weigh anything, are multiplied by the mean over the labelled ones.

        Returns:
            Mask models: what their criterion names. Others: `segmentation`, the first of the terms in `head.loss`,
            which as a rule is the cross-entropy, summed up with the weights and divided by the number of labelled
            pixels, and further ones by their names; with an auxiliary head, `auxiliary` as well.
        """
        return self.loss_and_probabilities(model, batch, weights)[0]

    def loss_and_probabilities(self, model: nn.Module, batch: Batch, weights: Tensor | None = None) -> Scored:
        """As `loss`, with a call that gives the class probabilities `(B, K, H, W)` of the same pass, detached."""
        if isinstance(extract_model_from_parallel(model), MASK_MODELS):
            return mask_loss(model, batch, weights)
        return pixel_loss(model, batch, weights)

    def pseudo_labeller(self, options: Any, classes: int, colours: Colours) -> PixelLabeller:
        """By `probabilities`."""
        return PixelLabeller(self.probabilities, options, classes, colours)

    def probabilities(self, model: nn.Module, pixel_values: Tensor) -> Tensor:
        """Class probabilities `(B, K, H, W)` of training crops `(B, 3, H, W)`, in one pass."""
        if isinstance(extract_model_from_parallel(model), MASK_MODELS):
            return normalised(mask_scores(model, pixel_values))
        return resize_to(pixel_logits(model, pixel_values), pixel_values.shape[-2:]).softmax(dim=1)

    def set_progress(self, model: nn.Module, share: float) -> None:
        """Tell the model how much of its training is done, 0 to 1; an EoMT's masked attention follows it."""
        set_progress(extract_model_from_parallel(model), share)

    def predict(self, model: nn.Module, pixel_values: Tensor, protocol: Protocol, window_batch: int = 8) -> Tensor:
        """Class probabilities `(B, K, H, W)` of normalised images `(B, 3, H, W)` under a test protocol.

        Windows are averaged as logits; scales and mirrored images as probabilities. Of a mask model, windows,
        scales and mirrored images are all averaged as scores, and the sum of a pixel's scores is made 1 at the end.
        """
        read, by_masks = reader_of(model)
        views = [(scale, mirrored) for scale in protocol.scales for mirrored in (False, True)[: 1 + protocol.flip]]
        total = torch.zeros(())
        for scale, mirrored in views:
            images = resized(pixel_values, protocol.resize, scale)
            scores = sliding_logits(
                lambda crops: read(model, crops),
                images.flip(-1) if mirrored else images,
                protocol.window or protocol.tile,
                protocol.stride,
                window_batch,
            )
            scores = resize_to(scores.flip(-1) if mirrored else scores, pixel_values.shape[-2:])
            total = total.to(scores) + (scores if by_masks else scores.softmax(dim=1))
        return normalised(total)

    @torch.no_grad()
    def start(self, model: nn.Module, pixel_values: Tensor, protocol: Protocol, window_batch: int = 8) -> list[Tensor]:
        """The likeliest class of every pixel of each of B images, `(H, W)` uint8, on the model's device.

        As `predict`, but the scores of all classes are held for a band of rows at a time where the protocol has one
        scale. Of a single view the logits are compared, which have the order of the probabilities.
        """
        if len(protocol.scales) > 1:
            return list(self.predict(model, pixel_values, protocol, window_batch).argmax(dim=1).to(torch.uint8))
        read, by_masks = reader_of(model)
        window = protocol.window or protocol.tile
        images = resized(pixel_values, protocol.resize, protocol.scales[0])
        views = [images, images.flip(-1)] if protocol.flip else [images]
        bands = [
            sliding_bands(lambda crops: read(model, crops), view, window, protocol.stride, window_batch)
            for view in views
        ]
        alike = by_masks or len(views) == 1  # else it is the probabilities that are averaged
        size = pixel_values.shape[-2:]
        if images.shape[-2:] == size:
            parts = [likeliest([scores for _, scores in band], alike) for band in zip(*bands, strict=True)]
            return list(torch.cat(parts, dim=1))
        small = [torch.cat([scores for _, scores in view], dim=2) for view in bands]
        return list(torch.cat([likeliest(part, alike) for part in resized_bands(small, size)], dim=1))

    def finish(self, started: Tensor, image: np.ndarray, space: LabelSpace) -> SegmentationPrediction:
        """What `start` gave of one image, once the device has it."""
        return SegmentationPrediction(started.cpu().numpy(), image, space)

    def prediction(
        self, output: Tensor, image: np.ndarray, space: LabelSpace, probabilities: bool = False
    ) -> SegmentationPrediction:
        """The likeliest class of every pixel, and the probabilities of all where asked for."""
        labels = output[0].argmax(0).to(torch.uint8).cpu().numpy()
        kept = output[0].float().cpu().numpy() if probabilities else None
        return SegmentationPrediction(labels, image, space, kept)

    def record(self, sample: Sample, classes: int) -> Record:
        """The pixels of each class, and those of none."""
        return pixel_record(sample, classes)

    def draw_labels(self, sample: Sample, image: np.ndarray, space: LabelSpace) -> np.ndarray | None:
        """The image in grey under the colours of its classes."""
        return draw_labels(sample, image, space)

    def protocol(self, config: "RunConfig") -> dict[str, Any]:
        """Windows, mirrored images and scales that scores are averaged over, and how a class counts that is absent."""
        options = config.evaluation
        window = self._window(config)
        views = {"window": window, "flip": options.flip, "scales": options.scales}
        stride = options.stride or (default_stride(window) if window else None)
        return views | {"stride": stride, "absent": options.absent}

    def _window(self, config: "RunConfig") -> Size | None:
        """What images are looked at through: as asked, or the training crop where the network takes nothing else."""
        given, only = config.evaluation.window, self.heads.resolve(config.head.name).one_size
        return given or (config.transform.crop if only else None)

    def exported(self, model: PreTrainedModel) -> Exported:
        """The stock classes and processors for it, and how its outputs are read."""
        return exported(model)

    def deployed(self, model: PreTrainedModel, protocol: Protocol, scale: Scale) -> Deployed:
        """What of it goes into one graph."""
        return deployed(model, scale)

    def from_deployed(self, outputs: Outputs, canvas: Size, size: Size) -> ModelOutput:
        """What a model would have given."""
        return from_deployed(outputs, canvas, size)

    def keep(self, sample: Sample, prediction: SegmentationPrediction, folder: Path) -> None:
        """Write `image.png`, `truth.png` and `prediction.png`, the last two as train ids."""
        gallery.keep(sample, prediction, folder)

    def scene(self, kept: Kept, space: LabelSpace) -> Scene:
        """The image, its truth, and what each run predicted and got wrong."""
        return gallery.scene(kept, space)

    def classes_shown(self, folders: Sequence[Path], space: LabelSpace) -> set[int]:
        """Those of the truth."""
        return gallery.classes_shown(folders)

    def gallery_words(self) -> GalleryWords:
        """What stands around the scenes."""
        return gallery.WORDS


def _classes_present(labels: Tensor) -> int:
    return int(np.count_nonzero(np.bincount(labels.cpu().numpy().ravel(), minlength=IGNORE_INDEX)[:IGNORE_INDEX]))
