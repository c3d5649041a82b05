"""How far a score can be trusted: intervals over images (bootstrap) and over seeds (Student t).

The unit that is drawn is the image. A resample counts how often each image was drawn, and the evidence of a domain
gives the scores of all resamples at once. A class that a resample happens to miss is left out of that resample's
mean. The intervals cover the choice of test images only, not the randomness of training; for that, train several
seeds and use `paired_t_interval`.
"""

import weakref
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from minorkey.tasks.evidence import Evidence, Floats

RESAMPLES = 1000
LEVEL = 0.95

AT_ONCE = 8_000_000
"""Images times resamples that are drawn in one go, 64 MB; more only takes more memory."""


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class Difference(NamedTuple):
    """A difference of two scores with its interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of zero."""
        return self.low > 0 or self.high < 0


def score_interval(evidence: Evidence, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """95 % percentile bootstrap interval of one domain's score.

    Args:
        evidence: That of its N images.
        resamples: How many times N images are drawn with replacement.
        seed: Seeds the draw.
    """
    return _percentiles(_mean_over_domains([evidence], resamples, seed, shared_scenes=False))


def mean_interval(
    domains: Sequence[Evidence], resamples: int = RESAMPLES, seed: int = 0, shared_scenes: bool = False
) -> Interval:
    """95 % percentile bootstrap interval of the unweighted mean of the domains' scores.

    Args:
        domains: The evidence of each domain.
        resamples: How many times the images of every domain are drawn.
        seed: Seeds the draw.
        shared_scenes: Image i shows the same scene in every domain: scenes are drawn, all domains follow.
            By default each domain is drawn on its own, which makes the interval too narrow where the
            domains do share scenes.
    """
    return _percentiles(_mean_over_domains(domains, resamples, seed, shared_scenes))


def paired_difference(
    a: Sequence[Evidence],
    b: Sequence[Evidence],
    resamples: int = RESAMPLES,
    seed: int = 0,
    shared_scenes: bool = False,
) -> Difference:
    """Mean score of run `a` minus that of run `b` on the same images, with a 95 % bootstrap interval.

    Both runs get the same resamples, so what makes an image hard for both cancels.

    Args:
        a: The evidence of each domain.
        b: The same images in the same order for the other run.
        resamples: How many times the images are drawn.
        seed: Seeds the draw.
        shared_scenes: As in `mean_interval`.

    Raises:
        ValueError: The runs differ in domains, images or classes.
    """
    shapes = [x.shape for x in a], [x.shape for x in b]
    if shapes[0] != shapes[1]:
        raise ValueError(f"runs on different images cannot be paired: {shapes[0]} against {shapes[1]}")
    samples = [_mean_over_domains(run, resamples, seed, shared_scenes) for run in (a, b)]
    value = float(np.mean([x.score() - y.score() for x, y in zip(a, b, strict=True)]))
    return Difference(value, *_percentiles(samples[0] - samples[1]))


def paired_t_interval(differences: Sequence[float]) -> Difference:
    """Mean of paired differences over seeds with the 95 % interval of Student's t, n - 1 degrees of freedom.

    Args:
        differences: One difference per seed, both runs of a pair from that seed.

    Raises:
        ValueError: Fewer than two differences, which have no spread.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"{len(values)} paired difference(s) given, an interval needs at least 2 seeds")
    mean = float(values.mean())
    reach = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
    return Difference(mean, mean - reach, mean + reach)


def _mean_over_domains(domains: Sequence[Evidence], resamples: int, seed: int, shared_scenes: bool) -> Floats:
    """Mean over domains of the score of each resample, `(resamples,)`."""
    if shared_scenes and len({evidence.shape[0] for evidence in domains}) > 1:
        raise ValueError("domains that share scenes must have equally many images")
    seeds = [(seed, 0 if shared_scenes else index) for index in range(len(domains))]
    scores = [_resampled(evidence, resamples, s) for evidence, s in zip(domains, seeds, strict=True)]
    return np.mean(scores, axis=0)


def _resampled(evidence: Evidence, resamples: int, seed: tuple[int, int]) -> Floats:
    """The score of each resample, `(resamples,)`: computed once, for a page asks for the same ones a dozen times."""
    place = id(evidence)
    if place not in _KNOWN:
        _KNOWN[place] = {}
        weakref.finalize(evidence, _KNOWN.pop, place)
    known = _KNOWN[place]
    if (resamples, seed) not in known:
        known[resamples, seed] = _drawn(evidence, resamples, seed)
    return known[resamples, seed]


_KNOWN: dict[int, dict[tuple[int, tuple[int, int]], Floats]] = {}
"""Scores of resamples, by the identity of the evidence as long as that lives: arrays have no hash."""


def _drawn(evidence: Evidence, resamples: int, seed: tuple[int, int]) -> Floats:
    images = evidence.shape[0]
    rng, even = np.random.default_rng(seed), np.full(images, 1 / images)
    most = max(1, AT_ONCE // images)
    sizes = [min(most, resamples - start) for start in range(0, resamples, most)]
    # One row is drawn after the other, so that parts give the same draws as the whole.
    return np.concatenate([evidence.scores(rng.multinomial(images, even, size=size)) for size in sizes])


def _percentiles(samples: Floats) -> Interval:
    low, high = np.nanpercentile(samples, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(low), float(high))
