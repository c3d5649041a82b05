"""Runs that differ in their seed alone, taken together as one method of the page."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import Any

from minorkey.evaluation.scores import DomainScore, MeanScore, ScoreTable, TrainingCost, WorstDomain
from minorkey.reporting.runs import Run
from minorkey.reporting.tables import fingerprints, is_start, measurement

BESIDE = ("seed", "evaluation", "data_cache")
"""Parts of a configuration in which the seeds of one method may differ; the protocol is compared by itself."""


def by_method(runs: Sequence[Run]) -> list[Run]:
    """One run for each method: the mean over its seeds, which `Run.seeds` has; in the order of their first ones.

    Its scores are means over the seeds, and their intervals go from the lowest to the highest seed.
    """
    groups: dict[Any, list[Run]] = {}
    known = fingerprints([run.scores for run in runs])
    for run in runs:
        groups.setdefault(_method(run, known), []).append(run)
    return [joined for group in groups.values() for joined in _joined(group)]


def interval_words(runs: Iterable[Run]) -> str:
    """What the intervals of their scores are."""
    counts = sorted({len(run.seeds) for run in runs})
    if counts == [1]:
        return "95 % bootstrap interval over images"
    several = " or ".join(str(count) for count in counts if count > 1)
    single = "; of a single run, its 95 % bootstrap interval over images" if 1 in counts else ""
    return f"mean over {several} seeds, lowest to highest seed{single}"


def _method(run: Run, known: Collection[str]) -> Any:
    """Equal for runs that differ in their seed alone; a start differs in whose head it took besides."""
    table = run.scores
    beside = (*BESIDE, "head_from") if is_start(table) else BESIDE
    settings = str({key: value for key, value in run.settings.items() if key not in beside})
    patience = run.settings.get("training", {}).get("patience")
    steps = table.training.steps if patience is None else None  # else seeds differ in when they ended
    return table.method, str(table.adaptation), measurement(table, known), steps, settings


def _joined(group: Sequence[Run]) -> list[Run]:
    """The group as one run; as it is where seeds are unknown, or one is there twice."""
    seeds = [run.scores.training.seed for run in group]
    if len(group) == 1 or None in seeds or len(set(seeds)) < len(seeds):
        return list(group)
    shown = next((run for run in group if run.samples), group[0])
    return [replace(shown, scores=_mean([run.scores for run in group]), members=tuple(group))]


def _mean(tables: Sequence[ScoreTable]) -> ScoreTable:
    first = tables[0]
    rank = first.metric.rank
    found = [{(score.role, score.domain): score for score in table.domains} for table in tables]
    domains = [_mean_domain([scores[place] for scores in found]) for place in found[0]]
    unseen = first.model_copy(update={"domains": domains}).unseen
    worst = max(unseen, key=lambda score: rank(score.score), default=None)
    means = [table.unseen_mean.score for table in tables if table.unseen_mean]
    changes = {
        "domains": domains,
        "unseen_mean": MeanScore(score=fmean(means), interval=(min(means), max(means))) if means else None,
        "worst": WorstDomain(domain=worst.domain, score=worst.score) if worst else None,
        "training": _mean_cost([table.training for table in tables]),
    }
    return first.model_copy(update=changes)


def _mean_domain(scores: Sequence[DomainScore]) -> DomainScore:
    values = [score.score for score in scores]
    names = scores[0].class_details
    changes = {
        "score": fmean(values),
        "interval": (min(values), max(values)),
        "by_class": _means([score.by_class for score in scores]),
        "details": _means([score.details for score in scores]),
        "class_details": {name: _means([score.class_details[name] for score in scores]) for name in names},
    }
    return scores[0].model_copy(update=changes)


def _means(columns: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    return {name: _over([column[name] for column in columns], fmean) for name in columns[0]}


def _mean_cost(costs: Sequence[TrainingCost]) -> TrainingCost:
    """That of the first seed, with the median time and the most memory."""
    changes = {
        "seconds": _over([cost.seconds for cost in costs], median),
        "images_per_second": _over([cost.images_per_second for cost in costs], median),
        "peak_memory_mb": _over([cost.peak_memory_mb for cost in costs], max),
        "seed": None,
    }
    return costs[0].model_copy(update=changes)


def _over(values: Sequence[float | None], summary: Callable[[list[float]], float]) -> float | None:
    """A summary of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return summary(known) if known else None
