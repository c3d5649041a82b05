"""The plainest evidence: a number for each image, whose mean is the score of a domain. For metrics of one's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from minorkey.data.sample import Sample
from minorkey.tasks.evidence import Floats, by_domain, share
from minorkey.tasks.metric import Evaluator
from minorkey.tasks.predictor import Started
from minorkey.tasks.protocol import Protocol

Measure = Callable[[Any, Sample], float]
"""From the prediction of an image, of the type of its task, and the sample to a number; NaN: nothing to measure."""


@dataclass(frozen=True)
class ImageScores:
    """A number for each of the N images of one domain; classes have none.

    >>> evidence = ImageScores(np.array([0.5, 1.5, np.nan]))
    >>> evidence.score(), evidence.scores(np.array([[2, 1, 0], [0, 0, 3]])).tolist()
    (1.0, [0.8333333333333334, nan])
    """

    values: Floats  # (N,); NaN where an image has nothing to measure
    unit: ClassVar[str] = "image"

    @property
    def shape(self) -> tuple[int, int]:
        """Images, and no classes, `(N, 0)`."""
        return len(self.values), 0

    def score(self) -> float:
        """The mean; NaN without a number."""
        return float(self.scores(np.ones((1, len(self.values)), np.int64))[0])

    def scores(self, draws: NDArray[np.int64]) -> Floats:
        """The mean of every resample, `(R, N)` to `(R,)`."""
        known = ~np.isnan(self.values)
        return share(draws @ np.where(known, self.values, 0), draws @ known)

    def by_class(self) -> Floats:
        """None, `(0,)`."""
        return np.empty(0)

    def details(self) -> dict[str, float]:
        """None."""
        return {}

    def class_details(self) -> dict[str, Floats]:
        """None."""
        return {}

    def only(self, keep: NDArray[np.bool]) -> "ImageScores":
        """The same, as no number is of a class."""
        return replace(self)

    def stored(self, domain: str) -> dict[str, NDArray]:
        """The numbers as `<domain>/values`."""
        return {f"{domain}/values": self.values}


class ImageEvaluator(Evaluator):
    """Notes a number of each image."""

    def __init__(self, num_classes: int, protocol: Protocol, measure: Measure) -> None:
        super().__init__(num_classes, protocol)
        self.measure = measure

    def note(self, sample: Sample, started: Started) -> float:
        """The number."""
        return float(self.measure(started(), sample))

    def evidence(self, notes: Sequence[float]) -> ImageScores:
        """Those of all images of a domain."""
        return ImageScores(np.array(notes, np.float64))

    def restored(self, arrays: Mapping[str, NDArray]) -> dict[str, ImageScores]:
        """Inverse of `ImageScores.stored`."""
        return {domain: ImageScores(named["values"]) for domain, named in by_domain(arrays).items()}


def mean_over_images(measure: Measure) -> Callable[[int, Protocol], Evaluator]:
    """The `evaluator` of a metric that is a mean over images of what `measure` gives."""
    return partial(ImageEvaluator, measure=measure)
