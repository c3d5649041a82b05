"""What is there of a setting: scores of all ways on the seeds that are complete, and the rates that were tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Self

import numpy as np
from comparing.plan import Plan
from comparing.records import Record


@dataclass(frozen=True)
class Scores:
    """What a way reached at a rate, in percent, with the seeds whose runs are all there."""

    rate: float
    seeds: Sequence[int]  # S
    unseen: np.ndarray  # (D, S), of the domains of the outcome
    source: np.ndarray  # (S,), on validation images

    @classmethod
    def of(cls, records: Sequence[Record], folds: Sequence[str], domains: Sequence[str]) -> Self | None:
        """From the runs of a way at one rate; None: no seed is whole. A run that diverged counts 0."""
        runs = {(record.fold, record.seed): record for record in records}
        by_seed = {seed: [runs[fold, seed] for fold in folds if (fold, seed) in runs] for _, seed in runs}
        cells = {seed: {d: 100 * s for run in some for d, s in run.scores.items()} for seed, some in by_seed.items()}
        seeds = [
            seed
            for seed, some in by_seed.items()
            if len(some) == len(folds) and (len(cells[seed]) == len(domains) or not all(run.scores for run in some))
        ]
        if not seeds:
            return None
        return cls(
            rate=records[0].rate,
            seeds=seeds,
            unseen=np.array([[cells[seed].get(domain, 0.0) for seed in seeds] for domain in domains]),
            source=np.array([100 * fmean(run.validation for run in by_seed[seed]) for seed in seeds]),
        )

    def above(self, other: Self) -> Self:
        """Points by which this is above another, paired by the seeds that both have."""
        seeds = [seed for seed in self.seeds if seed in other.seeds]
        mine, theirs = ([each.seeds.index(seed) for seed in seeds] for each in (self, other))
        unseen = self.unseen[:, mine] - other.unseen[:, theirs]
        return replace(self, seeds=seeds, unseen=unseen, source=self.source[mine] - other.source[theirs])


@dataclass(frozen=True)
class Outcome:
    """The figures of a setting, in percent, by way."""

    title: str
    domains: Sequence[str]  # unseen, D
    scores: Mapping[str, Scores]  # at the rate of each way
    rates: Mapping[str, float]  # of the ways that have one
    tried: Mapping[str, Mapping[float, float]]  # rate to score on validation images; of ways that had a choice
    unseen_at: Mapping[str, Mapping[float, float]] = field(default_factory=dict)  # rate to mean over unseen domains
    lower: Mapping[str, Scores] = field(default_factory=dict)  # at the lowest rate that is nearly as good

    @classmethod
    def of(cls, title: str, plan: Plan) -> Self:
        """From the result files of a plan; a way of which no run is there is left out."""
        records = {way: plan.reported(way) for way in plan.grids}
        lower = {way: plan.reported_lower(way) for way in plan.grids}
        domains = list(dict.fromkeys(d for some in records.values() for record in some for d in record.scores))
        return cls(
            title=title,
            domains=domains,
            scores=_of_each(records, plan.folds, domains),
            rates={way: rate for way in plan.grids if (rate := plan.rate(way)[0]) is not None},
            tried={way: {rate: 100 * plan.validation(way, rate) for rate in rs} for way, rs in plan.tried().items()},
            unseen_at={way: _unseen_at(plan, way, rs) for way, rs in plan.tried().items()},
            lower=_of_each(lower, plan.folds, domains),
        )

    def at_lower(self, ways: Sequence[str]) -> Self:
        """These ways at the lowest rate that is nearly as good as the best one, which may be that one."""
        return replace(self, scores={way: self.lower[way] for way in ways})


def _of_each(
    records: Mapping[str, Sequence[Record]], folds: Sequence[str], domains: Sequence[str]
) -> dict[str, Scores]:
    return {way: scores for way, some in records.items() if (scores := Scores.of(some, folds, domains))}


def _unseen_at(plan: Plan, way: str, rates: Sequence[float]) -> dict[float, float]:
    """The mean over unseen domains at the rates whose runs are all there; 0 of a run that diverged."""
    found = {rate: plan.unseen_at(way, rate) for rate in rates}
    complete = len(plan.curve_seeds) * len(plan.folds)
    return {
        rate: 100 * fmean(fmean(record.scores.values()) if record.scores else 0.0 for record in records)
        for rate, records in found.items()
        if records and len(records) == complete
    }
