"""Pseudo-labels of images: the class that a teacher is sure of, learnt of the same image with other colours.

The weak and the strong view of FixMatch (Sohn et al., arXiv 2001.07685), online: the teacher sees a crop as it was
taken, the student sees it with the colours that the recipe distorts, and patches of it may be hidden as in MIC (arXiv
2212.01322). Images that the teacher is not sure of count in no loss.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from pydantic import Field

from minorkey.data.sample import Pair
from minorkey.tasks.class_labels import BalancedLabeller, BalancedSelfTrainingOptions
from minorkey.tasks.pseudo_labels import PseudoLabels
from minorkey.tasks.self_training import MaskingOptions, View


class CategorySelfTrainingOptions(BalancedSelfTrainingOptions):
    """Online self-training of classifiers."""

    threshold: float = Field(
        0.9, ge=0, le=1, description="the class of an image is a pseudo-label from this probability on"
    )
    masking: MaskingOptions | None = Field(None, description="masked-image consistency; null: nothing is hidden")


class CategoryLabeller(BalancedLabeller):
    """Labels by the teacher's class probabilities, image by image."""

    def views(self) -> Mapping[str, Callable[[Pair, PseudoLabels], View]]:
        """`target`: the distorted images."""
        return {"target": self._strong}

    def _strong(self, batch: Pair, pseudo: PseudoLabels) -> View:
        labelled = replace(batch.target, labels=pseudo.labels)
        return View(labelled, pseudo.kept.float(), masked=True, compared=pseudo.labels)
