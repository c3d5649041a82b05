"""Pseudo-labels of pixels, and what a student learns of them: mixed and masked images.

Half of the classes of a source image are pasted into the target image (ClassMix, as in DACS, arXiv 2007.08702), and
target images are learnt of which most is hidden (MIC, arXiv 2212.01322). Pseudo-labels count by how sure the teacher
is.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from minorkey.data.sample import IGNORE_INDEX, Batch, Pair
from minorkey.tasks.balance import BALANCES, balanced
from minorkey.tasks.pseudo_labels import PseudoLabels, health_signals, pseudo_labels
from minorkey.tasks.segmentation.mixing import class_mask, mix
from minorkey.tasks.self_training import Colours, PseudoLabeller, SelfTrainingOptions, View

if TYPE_CHECKING:
    from minorkey.tasks.segmentation.task import Segmentation


class PixelSelfTrainingOptions(SelfTrainingOptions):
    """Online self-training of pixels."""

    unsure: Literal["weigh", "drop", "keep"] = Field(
        "weigh",
        description="weigh: the share of sure pixels of an image weighs all of its pseudo-labels; drop: pixels that "
        "are not sure count in no loss; keep: every pixel counts alike",
    )
    balance: Literal["confidence", "prior"] | None = Field(
        None,
        description="so that classes that the teacher is unsure of do not vanish; confidence: the probability of a "
        "class is taken over how confident the teacher is where it predicts it; prior: classes are to be as frequent "
        "as in the source, which is right where domains differ in weather or light alone",
    )
    class_mix: bool = Field(True, description="paste half of the classes of a source image onto the target image")
    distort: bool = Field(True, description="photometric distortion of the mixed and masked images")


class PixelLabeller(PseudoLabeller):
    """Labels by the teacher's class probabilities, pixel by pixel.

    Args:
        task: asks a network for these.
        options: which parts.
        classes: K.
        colours: of the target images.
    """

    def __init__(self, task: "Segmentation", options: PixelSelfTrainingOptions, classes: int, colours: Colours) -> None:
        super().__init__()
        self.task, self.options, self.classes, self.colours = task, options, classes, colours
        self.balance = BALANCES[options.balance](classes) if options.balance else None

    def label(self, network: nn.Module, batch: Pair) -> PseudoLabels:
        """The most likely classes, balanced where that is asked for."""
        clean, filled = _clean(batch.target)
        probabilities = self.task.probabilities(network, clean)
        if self.balance is not None:
            factors = self.balance.factors(probabilities, filled, batch.source.labels)
            probabilities = balanced(probabilities, factors)
        return pseudo_labels(probabilities, self.options.threshold, filled)

    def signals(self, labels: PseudoLabels, batch: Pair) -> dict[str, Tensor]:
        """Over the pixels."""
        return health_signals(labels, batch.source.labels, self.classes)

    def views(self) -> Mapping[str, Callable[[Pair, PseudoLabels], View]]:
        """`mixed` and, where something is to be hidden, `masked`."""
        return {"mixed": self._mixed} | ({} if self.options.masking is None else {"masked": self._masked})

    def _mixed(self, batch: Pair, pseudo: PseudoLabels) -> View:
        """Target images with classes of source images pasted in; what is pasted counts in full."""
        truth, weights = batch.source.labels, self._weights(pseudo)
        (source, source_filled), (target, target_filled) = _clean(batch.source), _clean(batch.target)
        pasted = class_mask(truth) if self.options.class_mix else torch.zeros_like(truth).bool()
        images = self._distorted(mix(pasted, source, target), mix(pasted, source_filled, target_filled))
        labels = mix(pasted, truth, self._labels(pseudo))
        return View(
            _labelled(batch.target, images, labels),
            mix(pasted, torch.ones_like(weights), weights),
            compared=pseudo.labels.where(~pasted, IGNORE_INDEX),
        )

    def _masked(self, batch: Pair, pseudo: PseudoLabels) -> View:
        """Target images alone."""
        images = self._distorted(*_clean(batch.target))
        return View(_labelled(batch.target, images, self._labels(pseudo)), self._weights(pseudo), masked=True)

    def _labels(self, pseudo: PseudoLabels) -> Tensor:
        return pseudo.sure() if self.options.unsure == "drop" else pseudo.labels

    def _weights(self, pseudo: PseudoLabels) -> Tensor:
        return pseudo.weights if self.options.unsure == "weigh" else torch.ones_like(pseudo.weights)

    def _distorted(self, images: Tensor, filled: Tensor) -> Tensor:
        return self.colours.distorted(images, filled) if self.options.distort else images


def _clean(batch: Batch) -> tuple[Tensor, Tensor]:
    """The images of a batch of a `Pair` as they were taken, and where they are."""
    assert batch.clean is not None
    assert batch.filled is not None
    return batch.clean, batch.filled


def _labelled(target: Batch, images: Tensor, labels: Tensor) -> Batch:
    return Batch(images, labels, domains=target.domains, keys=target.keys)
