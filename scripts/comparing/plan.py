"""Which runs are wanted, given what is there: first those that choose rates, then those that are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from comparing.records import Job, Record, Results

from minorkey.runs.rates import choose_rate


@dataclass(frozen=True)
class Plan:
    """The runs of a setting."""

    results: Results
    grids: Mapping[str, Sequence[float]]  # by way; a grid of one rate leaves nothing to choose
    folds: Sequence[str]
    rate_folds: Sequence[str]
    seeds: Sequence[int]
    rate_seeds: Sequence[int]
    curve_seeds: Sequence[int] = ()  # those of `seeds` that also show what other rates would have given
    tolerance: float | None = None  # ways also run at the lowest rate that is worse by this at most on the source

    def __post_init__(self) -> None:
        assert not set(self.seeds) & set(self.rate_seeds), "a seed that chooses rates is not reported"

    def rate(self, way: str) -> tuple[float | None, list[Job]]:
        """The rate of a way, or the runs that are missing to choose it."""
        chosen, open_rates = self._choose(way)
        return chosen, [job for rate in open_rates for job in self._missing(way, rate)]

    def lower_rate(self, way: str) -> float | None:
        """The lowest rate of a way that is nearly as good as its best one; None: it is not known yet, or not asked."""
        return None if self.tolerance is None else self._choose(way, self.tolerance)[0]

    def validation(self, way: str, rate: float) -> float:
        """The mean score of a rate, whose runs are there, on validation images of the source."""
        return fmean(record.validation for record in self._records(self._choosing(way, rate)))

    def wanted(self) -> list[Job]:
        """The runs that can be started now. While any rate is open nothing is judged on an unseen domain."""
        rates = {way: self.rate(way) for way in self.grids}
        if choosing := [job for _, missing in rates.values() for job in missing]:
            return choosing
        runs = [
            Job(way, rate, fold, seed, unseen=True)
            for seed in self.seeds
            for fold in self.folds
            for way, (rate, _) in rates.items()
            if rate is not None
        ]
        lower = sorted((job for way in self.grids for job in self._at_lower(way)), key=lambda job: job.seed)
        stages = (runs, lower, self._curve())
        missing = ([job for job in stage if not self.results.read(job)] for stage in stages)
        return next((stage for stage in missing if stage), [])

    def reported(self, way: str) -> list[Record]:
        """The runs of a way that are there, at its rate."""
        rate, _ = self.rate(way)
        if rate is None:
            return []
        jobs = [Job(way, rate, fold, seed, unseen=True) for seed in self.seeds for fold in self.folds]
        return self._records(jobs)

    def reported_lower(self, way: str) -> list[Record]:
        """The runs of a way that are there, at the lowest rate that is nearly as good as its best one."""
        return self._records(self._at_lower(way))

    def unseen_at(self, way: str, rate: float) -> list[Record]:
        """The runs of the curve's seeds at a rate, the one that was chosen or another, judged on unseen domains."""
        chosen, _ = self.rate(way)
        jobs = [
            Job(way, rate, fold, seed, unseen=True, chosen=rate == chosen)
            for seed in self.curve_seeds
            for fold in self.folds
        ]
        return self._records(jobs)

    def tried(self) -> dict[str, list[float]]:
        """For each way that had a choice, the rates that were tried, with all of their runs."""
        found: dict[str, set[float]] = {}
        for record in self.results.choosing():
            if not self._missing(record.way, record.rate):
                found.setdefault(record.way, set()).add(record.rate)
        return {way: sorted(found[way]) for way in self.grids if way in found}

    def _curve(self) -> list[Job]:
        """The runs at the rates that were not chosen."""
        if not self.curve_seeds:
            return []
        return [
            Job(way, rate, fold, seed, unseen=True, chosen=False)
            for seed in self.curve_seeds
            for fold in self.folds
            for way, rates in self.tried().items()
            for rate in rates
            if rate != self.rate(way)[0]
        ]

    def _at_lower(self, way: str) -> list[Job]:
        """The runs at the lower rate; of another one than the best with seeds whose curves have not suggested it."""
        rate, best = self.lower_rate(way), self.rate(way)[0]
        if rate is None:
            return []
        seeds = [seed for seed in self.seeds if rate == best or seed not in self.curve_seeds]
        return [Job(way, rate, fold, seed, unseen=True, chosen=rate == best) for seed in seeds for fold in self.folds]

    def _choose(self, way: str, tolerance: float = 0.0) -> tuple[float | None, list[float]]:
        return choose_rate(
            self.grids[way],
            lambda rate: None if self._missing(way, rate) else self.validation(way, rate),
            tolerance=tolerance,
        )

    def _records(self, jobs: Sequence[Job]) -> list[Record]:
        found = [self.results.read(job) for job in jobs]
        return [record for record in found if record]

    def _missing(self, way: str, rate: float) -> list[Job]:
        return [job for job in self._choosing(way, rate) if not self.results.read(job)]

    def _choosing(self, way: str, rate: float) -> list[Job]:
        return [Job(way, rate, fold, seed, unseen=False) for fold in self.rate_folds for seed in self.rate_seeds]
