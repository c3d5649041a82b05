"""Self-training of detectors: what a teacher finds in a target image, the student learns of the same image distorted.

The weak and strong views of STAC (Sohn et al., arXiv 2005.04757), online and with a teacher that follows the student,
as in Unbiased Teacher (Liu et al., arXiv 2102.09480): boxes that the teacher is sure of are truth. Both views are one
crop, so that boxes need no moving: the weak one has the colours of the photograph, the strong one those that the recipe
distorts, and patches of it may be hidden as in MIC (arXiv 2212.01322).
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from minorkey.data.sample import Batch, Pair
from minorkey.regimes.base import named, total
from minorkey.regimes.health import class_shares
from minorkey.regimes.options import BoxSelfTrainingOptions
from minorkey.regimes.self_training.masking import patch_mask
from minorkey.regimes.taught import Taught
from minorkey.regimes.teachers import Teacher
from minorkey.tasks.detection.detections import FoundBoxes
from minorkey.tasks.detection.labels import BoxLabels
from minorkey.tasks.detection.task import Detection


class BoxSelfTraining(Taught):
    """The regime.

    Args:
        task: says what the losses are, and what is found.
        model: what trains.
        teacher: who labels the target.
        options: which parts.
        classes: K.
        steps: length of the training.
    """

    task: Detection

    def __init__(
        self,
        task: Detection,
        model: nn.Module,
        teacher: Teacher,
        options: BoxSelfTrainingOptions,
        classes: int,
        steps: int,
    ) -> None:
        super().__init__(task, model, teacher, classes, steps)
        self.options = options

    @property
    def passes(self) -> int:
        """Over the source and, after the warm-up, the target."""
        return 1 + (self.done >= self.options.warmup)

    def losses(self, batch: Pair) -> Iterator[dict[str, Tensor]]:
        """Yield the terms of `source` and, after the warm-up, `target`."""
        source, target = batch.source, batch.target
        assert target.clean is not None
        with self.teacher.installed() as network:
            found = self.task.find(network, target.clean)
        sure, classes = found.above(self.options.threshold)
        self.signals = self._health(found, classes, source)
        yield named("source", self.task.loss(self.model, source), source)
        if self.done >= self.options.warmup:
            yield {
                "target": self.options.weight * total(self.task.loss(self.model, self._strong(target, sure, classes)))
            }

    def _strong(self, target: Batch, boxes: list[Tensor], classes: list[Tensor]) -> Batch:
        """The distorted target images with what the teacher found as their truth."""
        images, masking = target.pixel_values, self.options.masking
        if masking is not None:
            images = images * patch_mask(images, masking.ratio, masking.patch)
        return replace(target, pixel_values=images, labels=BoxLabels(boxes, classes))

    def _health(self, found: FoundBoxes, sure: list[Tensor], source: Batch) -> dict[str, Tensor]:
        """Label-free signs: how sure the best box of an image is, how many images have a sure one, and the classes."""
        best = found.scores.amax(dim=1)  # 0 where nothing is found
        return {
            "confidence": best.mean(),
            "kept": (best >= self.options.threshold).float().mean(),
            "pseudo_classes": class_shares(torch.cat(sure), self.classes),
            "source_classes": class_shares(torch.cat(source.labels.classes), self.classes),
        }
