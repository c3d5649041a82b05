"""Pseudo-labels of boxes: what a teacher finds in a target image, the student learns of the same image distorted.

The weak and strong views of STAC (Sohn et al., arXiv 2005.04757), online and with a teacher that follows the student,
as in Unbiased Teacher (Liu et al., arXiv 2102.09480): boxes that the teacher is sure of are truth. Both views are one
crop, so that boxes need no moving: the weak one has the colours of the photograph, the strong one those that the recipe
distorts, and patches of it may be hidden as in MIC (arXiv 2212.01322).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from minorkey.data.sample import Pair
from minorkey.tasks.detection.detections import FoundBoxes
from minorkey.tasks.detection.labels import BoxLabels
from minorkey.tasks.pseudo_labels import class_shares
from minorkey.tasks.self_training import MaskingOptions, PseudoLabeller, SelfTrainingOptions, View

if TYPE_CHECKING:
    from minorkey.tasks.detection.task import Detection


class BoxSelfTrainingOptions(SelfTrainingOptions):
    """Online self-training of detectors."""

    former_section: ClassVar[str] = "box_self_training"

    threshold: float = Field(0.5, gt=0, le=1, description="a box is a pseudo-label from this score on")
    masking: MaskingOptions | None = Field(None, description="masked-image consistency; null: nothing is hidden")


class SureBoxes(NamedTuple):
    """What a teacher finds in B images, and what of it is taken for truth."""

    found: FoundBoxes
    boxes: list[Tensor]  # B of (N, 4)
    classes: list[Tensor]  # B of (N,)


class BoxLabeller(PseudoLabeller):
    """Takes the boxes that the teacher is sure of for truth.

    Args:
        task: finds them.
        options: which parts.
        classes: K.
    """

    def __init__(self, task: "Detection", options: BoxSelfTrainingOptions, classes: int) -> None:
        super().__init__()
        self.task, self.options, self.classes = task, options, classes

    def label(self, network: nn.Module, batch: Pair) -> SureBoxes:
        """What every query finds, and which of it is sure. The host waits once, for how much that is."""
        assert batch.target.clean is not None
        assert batch.target.filled is not None
        found = self.task.find(network, batch.target.clean, batch.target.filled)
        return SureBoxes(found, *found.above(self.options.threshold))

    def signals(self, labels: SureBoxes, batch: Pair) -> dict[str, Tensor]:
        """How sure the best box of an image is, how many images have a sure one, and the classes of sure boxes."""
        best = labels.found.scores.amax(dim=1)  # 0 where nothing is found
        return {
            "confidence": best.mean(),
            "kept": (best >= self.options.threshold).float().mean(),
            "pseudo_classes": class_shares(torch.cat(labels.classes), self.classes),
            "source_classes": class_shares(torch.cat(batch.source.labels.classes), self.classes),
        }

    def views(self) -> Mapping[str, Callable[[Pair, SureBoxes], View]]:
        """`target`: the distorted images."""
        return {"target": self._strong}

    def _strong(self, batch: Pair, labels: SureBoxes) -> View:
        return View(replace(batch.target, labels=BoxLabels(labels.boxes, labels.classes)), masked=True)
