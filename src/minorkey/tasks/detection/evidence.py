"""Evidence of detection: the objects and the detections of every image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from minorkey.tasks.detection.average_precision import average_precision
from minorkey.tasks.detection.box_rows import Found, Truth, choose
from minorkey.tasks.detection.coco import coco_scores
from minorkey.tasks.detection.matching import Outcome, Rule
from minorkey.tasks.detection.ranking import Ranking, rank
from minorkey.tasks.evidence import Floats, by_domain, mean_present
from minorkey.tasks.protocol import DETECTIONS

AT_ONCE = 4_000_000
"""Detections times resamples that are looked at in one go; more only takes more memory."""

SINGLE_THRESHOLDS = {"AP50": 0, "AP75": 5}
"""Places among COCO's thresholds."""


@dataclass(frozen=True)
class BoxEvidence:
    """Objects and detections in the images of one domain.

    The score is the mean, over the classes that the truth shows, of the average precision by the rules of `metric`.
    """

    images: int  # N
    num_classes: int  # K
    truth: Truth
    found: Found
    metric: Rule = "coco"
    most: int = DETECTIONS  # per image, and class as in COCO
    unit: ClassVar[str] = "object"

    @property
    def shape(self) -> tuple[int, int]:
        """Images and classes, `(N, K)`."""
        return self.images, self.num_classes

    def score(self) -> float:
        """AP of COCO or AP50 of Pascal VOC, as `metric` says; NaN without an object to be found."""
        return float(mean_present(self.by_class()))

    def scores(self, draws: NDArray[np.int64]) -> Floats:
        """The score of every resample, `(R, N)` to `(R,)`; a class that a resample misses is left out of its mean."""
        return mean_present(np.stack([_resampled(ranking, draws, self.metric) for ranking in self._rankings], axis=1))

    def by_class(self) -> Floats:
        """Average precision of each class, `(K,)`."""
        return np.array([_average(ranking, self.metric) for ranking in self._rankings])

    def details(self) -> dict[str, float]:
        """The figures of COCO (`coco_scores`), and AP50 of Pascal VOC by all points and by the 11 of 2007."""
        voc: dict[str, Rule] = {"VOC AP50": "voc", "VOC07 AP50": "voc07"}
        return coco_scores(self.truth, self.found, self.images, self.most) | {
            name: replace(self, metric=metric).score() for name, metric in voc.items()
        }

    def class_details(self) -> dict[str, Floats]:
        """AP50 and AP75 of COCO for each class, `(K,)`."""
        rankings = replace(self, metric="coco")._rankings
        return {
            name: np.array([_average(_at(ranking, place), "coco") for ranking in rankings])
            for name, place in SINGLE_THRESHOLDS.items()
        }

    def only(self, keep: NDArray[np.bool]) -> "BoxEvidence":
        """Without the objects and the detections of the classes that `keep` `(K,)` leaves out."""
        truth = choose(self.truth, keep[self.truth.classes])
        return replace(self, truth=truth, found=choose(self.found, keep[self.found.classes]))

    def stored(self, domain: str) -> dict[str, NDArray]:
        """The number of images as `<domain>/images`, the columns of the tables as `<domain>/truth_boxes` and so on."""
        arrays = {"images": np.array([self.images])}
        arrays |= {f"truth_{name}": column for name, column in self.truth._asdict().items()}
        arrays |= {f"found_{name}": column for name, column in self.found._asdict().items()}
        return {f"{domain}/{name}": array for name, array in arrays.items()}

    @classmethod
    def restored(
        cls, arrays: Mapping[str, NDArray], num_classes: int, metric: Rule, most: int
    ) -> "dict[str, BoxEvidence]":
        """Inverse of `stored`, for all domains of a file.

        Raises:
            KeyError: an array is missing.
        """
        evidence = {}
        for domain, columns in by_domain(arrays).items():
            truth = Truth(*(columns[f"truth_{name}"] for name in Truth._fields))
            found = Found(*(columns[f"found_{name}"] for name in Found._fields))
            evidence[domain] = cls(int(columns["images"][0]), num_classes, truth, found, metric, most)
        return evidence

    @cached_property
    def _rankings(self) -> list[Ranking]:
        """One for each class."""
        pairs = [
            (choose(self.truth, self.truth.classes == place), choose(self.found, self.found.classes == place))
            for place in range(self.num_classes)
        ]
        return [rank(truth, found, self.images, self.metric, self.most) for truth, found in pairs]


def _average(ranking: Ranking, metric: Rule) -> float:
    return float(_resampled(ranking, np.ones((1, len(ranking.positives)), dtype=np.int64), metric)[0])


def _resampled(ranking: Ranking, draws: NDArray[np.int64], metric: Rule) -> Floats:
    """Average precision of a class in every resample, `(R, N)` to `(R,)`."""
    parts = np.array_split(draws, 1 + draws.shape[0] * len(ranking.images) // AT_ONCE)
    averages = [
        average_precision(ranking.outcome, part[:, ranking.images], part @ ranking.positives, metric) for part in parts
    ]
    return np.concatenate(averages)


def _at(ranking: Ranking, place: int) -> Ranking:
    """The ranking at one of its thresholds."""
    hit, left_out = ranking.outcome
    return ranking._replace(outcome=Outcome(hit[place : place + 1], left_out[place : place + 1]))
