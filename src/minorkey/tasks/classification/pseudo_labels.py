"""Pseudo-labels of images: the class that a teacher is sure of, learnt of the same image with other colours.

The weak and the strong view of FixMatch (Sohn et al., arXiv 2001.07685), online: the teacher sees a crop as it was
taken, the student sees it with the colours that the recipe distorts, and patches of it may be hidden as in MIC (arXiv
2212.01322). Images that the teacher is not sure of count in no loss.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from torch import Tensor, nn

from minorkey.data.sample import Pair
from minorkey.tasks.balance import BALANCES, balanced
from minorkey.tasks.pseudo_labels import PseudoLabels, health_signals, pseudo_labels
from minorkey.tasks.self_training import MaskingOptions, PseudoLabeller, SelfTrainingOptions, View

if TYPE_CHECKING:
    from minorkey.tasks.classification.task import Classification


class CategorySelfTrainingOptions(SelfTrainingOptions):
    """Online self-training of classifiers."""

    threshold: float = Field(
        0.9, ge=0, le=1, description="the class of an image is a pseudo-label from this probability on"
    )
    masking: MaskingOptions | None = Field(None, description="masked-image consistency; null: nothing is hidden")
    balance: Literal["confidence", "prior"] | None = Field(
        None,
        description="so that classes that the teacher is unsure of do not vanish; confidence: the probability of a "
        "class is taken over how confident the teacher is where it predicts it; prior: classes are to be as frequent "
        "as in the source",
    )


class CategoryLabeller(PseudoLabeller):
    """Labels by the teacher's class probabilities, image by image.

    Args:
        task: asks a network for these.
        options: which parts.
        classes: K.
    """

    def __init__(self, task: "Classification", options: CategorySelfTrainingOptions, classes: int) -> None:
        super().__init__()
        self.task, self.options, self.classes = task, options, classes
        self.balance = BALANCES[options.balance](classes) if options.balance else None

    def label(self, network: nn.Module, batch: Pair) -> PseudoLabels:
        """The most likely classes `(B,)`, balanced where that is asked for."""
        assert batch.target.clean is not None
        assert batch.target.filled is not None
        probabilities = self.task.class_probabilities(network, batch.target.clean)
        if self.balance is not None:
            filled = batch.target.filled.flatten(1).any(dim=1)
            factors = self.balance.factors(probabilities, filled, batch.source.labels)
            probabilities = balanced(probabilities, factors)
        return pseudo_labels(probabilities, self.options.threshold)

    def signals(self, labels: PseudoLabels, batch: Pair) -> dict[str, Tensor]:
        """Over the images."""
        return health_signals(labels, batch.source.labels, self.classes)

    def views(self) -> Mapping[str, Callable[[Pair, PseudoLabels], View]]:
        """`target`: the distorted images."""
        return {"target": self._strong}

    def _strong(self, batch: Pair, pseudo: PseudoLabels) -> View:
        labelled = replace(batch.target, labels=pseudo.labels)
        return View(labelled, pseudo.kept.float(), masked=True, compared=pseudo.labels)
