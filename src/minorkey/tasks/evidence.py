"""What is kept of the images of a domain, so that its score can be computed again for any draw of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from minorkey.data.sample import Sample
from minorkey.errors import DataError

Floats = NDArray[np.float64]


class Evidence(Protocol):
    """Truth and prediction of the N images of one domain, in K classes, as far as the scores need them.

    Scores are fractions in `[0, 1]`, or in the unit of their metric; NaN stands for what the truth leaves undefined.
    Where classes have no scores, K is 0.
    """

    unit: ClassVar[str]
    """What the labels mark: pixel, object or image."""

    @property
    def shape(self) -> tuple[int, int]:
        """Images and classes, `(N, K)`."""
        ...

    def score(self) -> float:
        """The score by which runs are compared; NaN without any truth."""
        ...

    def scores(self, draws: NDArray[np.int64]) -> Floats:
        """The score of every resample, `(R,)`; `draws` `(R, N)` says how often each image was drawn."""
        ...

    def by_class(self) -> Floats:
        """The score of each class, `(K,)`; NaN for a class that the truth never shows."""
        ...

    def details(self) -> dict[str, float]:
        """Further scores of the domain, by name."""
        ...

    def class_details(self) -> dict[str, Floats]:
        """Further scores of each class, `(K,)`, by name."""
        ...

    def only(self, keep: NDArray[np.bool]) -> Self:
        """The same without the classes that `keep` `(K,)` leaves out."""
        ...

    def stored(self, domain: str) -> dict[str, NDArray]:
        """As a file has it, with the name of its domain in the names of the arrays."""
        ...


AnyEvidence = TypeVar("AnyEvidence", bound=Evidence)


def only_scored(evidence: AnyEvidence, classes: Sequence[str], scored: Collection[str] | None) -> AnyEvidence:
    """Evidence of the classes in `scored` alone; `None` keeps all."""
    if scored is None:
        return evidence
    return evidence.only(np.array([name in scored for name in classes], dtype=np.bool))


def unlabelled(sample: Sample, what: str) -> DataError:
    """The error of an evaluator that is given a sample without its kind of labels."""
    return DataError(f"{sample.domain}/{sample.key} has no {what}; only labelled images can be judged on")


def mean_present(values: Floats) -> Floats:
    """Mean over the last axis of the entries that are not NaN; NaN, without a warning, if there are none.

    >>> mean_present(np.array([[1.0, np.nan, 3.0], [np.nan] * 3])).tolist()
    [2.0, nan]
    """
    present = ~np.isnan(values)
    return ratio(np.where(present, values, 0).sum(-1), present.sum(-1), present=np.any(present, axis=-1))


def ratio(numerator: NDArray, denominator: NDArray, present: NDArray | np.bool) -> Floats:
    """Their quotient; NaN, without a warning, where `present` is false."""
    blank = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=blank, where=present)


def share(part: NDArray, whole: NDArray) -> Floats:
    """Their quotient; NaN, without a warning, where `whole` is 0."""
    return ratio(part, whole, present=whole > 0)


def by_domain(arrays: Mapping[str, NDArray]) -> dict[str, dict[str, NDArray]]:
    """The arrays of a file, called `<domain>/<name>`, by domain and then by name."""
    found: dict[str, dict[str, NDArray]] = {}
    for key, array in arrays.items():
        domain, _, name = key.rpartition("/")
        found.setdefault(domain, {})[name] = array
    return found
