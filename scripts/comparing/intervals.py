"""Means of paired differences and their 95 % intervals: over seeds, over domains and seeds, over settings."""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from minorkey.evaluation.bootstrap import LEVEL, Difference, paired_t_interval


def over_seeds(cells: np.ndarray) -> Difference:
    """Of the mean over domains, seeds drawn: what another seed in the same domains would give.

    Args:
        cells: `(D, S)` differences of D domains and S >= 2 seeds.
    """
    return paired_t_interval(cells.mean(axis=0).tolist())


def over_domains_and_seeds(cells: np.ndarray) -> Difference:
    """Domains and seeds drawn: what another seed in other domains like these would give.

    The two cross, so that the differences in a domain are no independent ones; with mean squares MS of the two-way
    table, the variance of the mean is (MS_domains + MS_seeds - MS_rest) / (D S), with Satterthwaite's degrees of
    freedom. It is not taken to be less than either of the two alone would give.

    Args:
        cells: `(D, S)`, both at least 2.
    """
    domains, seeds = cells.shape
    mean, of_domain, of_seed = cells.mean(), cells.mean(axis=1), cells.mean(axis=0)
    rest = cells - of_domain[:, None] - of_seed + mean
    squares = [
        (seeds * np.square(of_domain - mean).sum() / (domains - 1), domains - 1),
        (domains * np.square(of_seed - mean).sum() / (seeds - 1), seeds - 1),
        (np.square(rest).sum() / ((domains - 1) * (seeds - 1)), (domains - 1) * (seeds - 1)),
    ]
    a, b, c = (square for square, _ in squares)
    total = max(a + b - c, a, b)
    spread = sum(square**2 / freedom for square, freedom in squares)
    return _interval(float(mean), total / cells.size, max(1.0, total**2 / spread) if spread else 1.0)


def over_settings(settings: Sequence[Sequence[float]]) -> Difference:
    """Of the mean over settings, each counting the same, seeds drawn; Welch's degrees of freedom.

    Args:
        settings: differences by seed, two or more, of each setting.
    """
    values = [np.asarray(each, dtype=float) for each in settings]
    shares = [each.var(ddof=1) / len(each) for each in values]
    total, freedom = sum(shares), sum(share**2 / (len(each) - 1) for share, each in zip(shares, values, strict=True))
    mean = float(np.mean([each.mean() for each in values]))
    return _interval(mean, total / len(values) ** 2, total**2 / freedom if freedom else 1.0)


def _interval(mean: float, variance: float, freedom: float) -> Difference:
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(variance))
    return Difference(mean, mean - reach, mean + reach)
