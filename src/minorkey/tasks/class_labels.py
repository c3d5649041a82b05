"""Pseudo-labels that are classes, of pixels or of whole images, and how the unsure ones count."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from minorkey.data.sample import Pair
from minorkey.tasks.balance import BALANCES, balanced
from minorkey.tasks.pseudo_labels import PseudoLabels, health_signals, pseudo_labels
from minorkey.tasks.self_training import PseudoLabeller, SelfTrainingOptions

Probabilities = Callable[[nn.Module, Tensor], Tensor]
"""Class probabilities `(B, K, H, W)`, or of whole images `(B, K)`, that a network has for images `(B, 3, H, W)`."""


class BalancedSelfTrainingOptions(SelfTrainingOptions):
    """Online self-training where labels are classes."""

    balance: Literal["confidence", "prior"] | None = Field(
        None,
        description="so that classes that the teacher is unsure of do not vanish; confidence: the probability of a "
        "class is taken over how confident the teacher is where it predicts it; prior: classes are to be as frequent "
        "as in the source, which is right where domains differ in weather or light alone",
    )


class ClassSelfTrainingOptions(BalancedSelfTrainingOptions):
    """The same where labels that are not sure may count."""

    unsure: Literal["weigh", "drop", "keep"] = Field(
        "weigh",
        description="weigh: the share of sure labels of an image weighs all of them; drop: those that are not sure "
        "count 0, and losses are means over all; keep: all count alike",
    )


class BalancedLabeller(PseudoLabeller):
    """Labels by the teacher's class probabilities; `views` is left to the task.

    Args:
        probabilities: of the task.
        options: how sure a label is to be.
        classes: K.
    """

    def __init__(self, probabilities: Probabilities, options: BalancedSelfTrainingOptions, classes: int) -> None:
        super().__init__()
        self.probabilities, self.options, self.classes = probabilities, options, classes
        self.balance = BALANCES[options.balance](classes) if options.balance else None

    def label(self, network: nn.Module, batch: Pair) -> PseudoLabels:
        """The most likely classes, balanced where that is asked for."""
        assert batch.target.clean is not None
        probabilities = self.probabilities(network, batch.target.clean)
        filled = batch.target.filled if probabilities.ndim == 4 else torch.ones_like(probabilities[:, 0]).bool()
        assert filled is not None
        if self.balance is not None:
            probabilities = balanced(probabilities, self.balance.factors(probabilities, filled, batch.source.labels))
        return pseudo_labels(probabilities, self.options.threshold, filled)

    def signals(self, labels: PseudoLabels, batch: Pair) -> dict[str, Tensor]:
        """Over the labels."""
        return health_signals(labels, batch.source.labels, self.classes)


class ClassLabeller(BalancedLabeller):
    """Says what becomes of labels that are not sure."""

    options: ClassSelfTrainingOptions

    def weights(self, pseudo: PseudoLabels) -> Tensor:
        """What each of the labels counts, 0 ... 1.

        Those that are dropped count 0 in a mean over all labels, as in FixMatch (arXiv 2001.07685): over the sure ones
        alone, what a label counts would depend on which others are in its batch.
        """
        if self.options.unsure == "weigh":
            return pseudo.weights
        return pseudo.kept.float() if self.options.unsure == "drop" else torch.ones_like(pseudo.weights)
