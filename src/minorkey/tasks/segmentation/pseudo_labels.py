"""Pseudo-labels of pixels, and what a student learns of them: mixed and masked images.

Half of the classes of a source image are pasted into the target image (ClassMix, as in DACS, arXiv 2007.08702), and
target images are learnt of which most is hidden (MIC, arXiv 2212.01322). Pseudo-labels count by how sure the teacher
is.
"""

from collections.abc import Callable, Mapping

import torch
from pydantic import Field
from torch import Tensor

from minorkey.data.sample import Batch, Pair
from minorkey.labels import IGNORE_INDEX
from minorkey.tasks.class_labels import ClassLabeller, ClassSelfTrainingOptions, Probabilities
from minorkey.tasks.pseudo_labels import PseudoLabels
from minorkey.tasks.segmentation.mixing import class_mask, mix
from minorkey.tasks.self_training import Colours, View


class PixelSelfTrainingOptions(ClassSelfTrainingOptions):
    """Online self-training of pixels."""

    class_mix: bool = Field(True, description="paste half of the classes of a source image onto the target image")
    distort: bool = Field(True, description="photometric distortion of the mixed and masked images")


class PixelLabeller(ClassLabeller):
    """Labels by the teacher's class probabilities, pixel by pixel.

    Args:
        probabilities: `(B, K, H, W)` that a network has for images.
        options: which parts.
        classes: K.
        colours: of the target images.
    """

    options: PixelSelfTrainingOptions

    def __init__(
        self, probabilities: Probabilities, options: PixelSelfTrainingOptions, classes: int, colours: Colours
    ) -> None:
        super().__init__(probabilities, options, classes)
        self.colours = colours

    def views(self) -> Mapping[str, Callable[[Pair, PseudoLabels], View]]:
        """`mixed` and, where something is to be hidden, `masked`."""
        return {"mixed": self._mixed} | ({} if self.options.masking is None else {"masked": self._masked})

    def _mixed(self, batch: Pair, pseudo: PseudoLabels) -> View:
        """Target images with classes of source images pasted in; what is pasted counts in full."""
        truth, weights = batch.source.labels, self.weights(pseudo)
        (source, source_filled), (target, target_filled) = _clean(batch.source), _clean(batch.target)
        pasted = class_mask(truth) if self.options.class_mix else torch.zeros_like(truth).bool()
        images = self._distorted(mix(pasted, source, target), mix(pasted, source_filled, target_filled))
        labels = mix(pasted, truth, pseudo.labels)
        return View(
            _labelled(batch.target, images, labels),
            mix(pasted, torch.ones_like(weights), weights),
            compared=pseudo.labels.where(~pasted, IGNORE_INDEX),
        )

    def _masked(self, batch: Pair, pseudo: PseudoLabels) -> View:
        """Target images alone."""
        images = self._distorted(*_clean(batch.target))
        return View(_labelled(batch.target, images, pseudo.labels), self.weights(pseudo), masked=True)

    def _distorted(self, images: Tensor, filled: Tensor) -> Tensor:
        return self.colours.distorted(images, filled) if self.options.distort else images


def _clean(batch: Batch) -> tuple[Tensor, Tensor]:
    """The images of a batch of a `Pair` as they were taken, and where they are."""
    assert batch.clean is not None
    assert batch.filled is not None
    return batch.clean, batch.filled


def _labelled(target: Batch, images: Tensor, labels: Tensor) -> Batch:
    return Batch(images, labels, domains=target.domains, keys=target.keys)
