"""How classification is scored: the share of images that are recognised, over all images or class by class."""

from collections.abc import Mapping, Sequence
from functools import partial

from numpy.typing import NDArray

from minorkey.data.sample import Sample
from minorkey.tasks.classification.evidence import CategoryEvidence
from minorkey.tasks.evidence import unlabelled
from minorkey.tasks.metric import Evaluator, Metric
from minorkey.tasks.predictor import Started
from minorkey.tasks.protocol import Protocol

Note = tuple[int, int]
"""The class of an image, and the one that was predicted."""


class CategoryEvaluator(Evaluator):
    """Notes the class of an image and the one that was predicted."""

    def __init__(self, num_classes: int, protocol: Protocol, balanced: bool = False) -> None:
        super().__init__(num_classes, protocol)
        self.balanced = balanced

    def note(self, sample: Sample, started: Started) -> Note:
        """Two train ids."""
        if sample.category is None:
            raise unlabelled(sample, "class")
        return sample.category, started().category

    def evidence(self, notes: Sequence[Note]) -> CategoryEvidence:
        """Those of all images of a domain."""
        return CategoryEvidence.of(notes, self.num_classes, self.balanced)

    def restored(self, arrays: Mapping[str, NDArray]) -> dict[str, CategoryEvidence]:
        """From the columns."""
        return CategoryEvidence.restored(arrays, self.num_classes, self.balanced)


METRICS = {
    "accuracy": Metric(
        "accuracy",
        "The share of the images of a domain whose class is predicted.",
        CategoryEvaluator,
        class_name="accuracy",
        evidence_file="categories.safetensors",
    ),
    "balanced_accuracy": Metric(
        "balanced accuracy",
        "The share of the images of a class that are recognised, averaged over the classes that a domain shows.",
        partial(CategoryEvaluator, balanced=True),
        class_name="accuracy",
        evidence_file="categories.safetensors",
    ),
}
