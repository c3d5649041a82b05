"""What is there of a setting: scores of all ways on the seeds that are complete, and the rates that were tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Self

import numpy as np
from comparing.plan import Plan

Cells = Mapping[tuple[str, int], float]
"""Scores by domain and seed."""


@dataclass(frozen=True)
class Outcome:
    """The figures of a setting, in percent, by way."""

    title: str
    domains: Sequence[str]  # unseen, D
    seeds: Sequence[int]  # that every way has in every domain, S
    rates: Mapping[str, float]  # of the ways that have one
    unseen: Mapping[str, np.ndarray]  # (D, S)
    source: Mapping[str, np.ndarray]  # (runs,), on validation images
    tried: Mapping[str, Mapping[float, float]]  # rate to score on validation images; of ways that had a choice
    unseen_at: Mapping[str, Mapping[float, float]] = field(default_factory=dict)  # rate to mean over unseen domains

    @classmethod
    def of(cls, title: str, plan: Plan) -> Self:
        """From the result files of a plan; a way of which no run is there is left out."""
        records = {way: some for way in plan.grids if (some := plan.reported(way))}
        found = {
            way: {(domain, record.seed): 100 * score for record in some for domain, score in record.scores.items()}
            for way, some in records.items()
        }
        domains = list(dict.fromkeys(domain for cells in found.values() for domain, _ in cells))
        seeds = [seed for seed in plan.seeds if _whole(found, domains, seed)]
        return cls(
            title=title,
            domains=domains,
            seeds=seeds,
            rates={way: rate for way in plan.grids if (rate := plan.rate(way)[0]) is not None},
            unseen={way: np.array([[cells[d, s] for s in seeds] for d in domains]) for way, cells in found.items()},
            source={
                way: np.array([100 * record.validation for record in some if record.seed in seeds])
                for way, some in records.items()
            },
            tried={way: {rate: 100 * plan.validation(way, rate) for rate in rs} for way, rs in plan.tried().items()},
            unseen_at={way: _unseen_at(plan, way, rs) for way, rs in plan.tried().items()},
        )

    def difference(self, one: str, other: str) -> np.ndarray:
        """Points by which one way is above another in unseen domains, paired: `(D, S)`."""
        return self.unseen[one] - self.unseen[other]


def _whole(found: Mapping[str, Cells], domains: Sequence[str], seed: int) -> bool:
    return bool(domains) and all((domain, seed) in cells for cells in found.values() for domain in domains)


def _unseen_at(plan: Plan, way: str, rates: Sequence[float]) -> dict[float, float]:
    """The mean over unseen domains at the rates whose runs are all there; 0 of a run that diverged."""
    found = {rate: plan.unseen_at(way, rate) for rate in rates}
    complete = len(plan.curve_seeds) * len(plan.folds)
    return {
        rate: 100 * fmean(fmean(record.scores.values()) if record.scores else 0.0 for record in records)
        for rate, records in found.items()
        if records and len(records) == complete
    }
