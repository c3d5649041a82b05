"""The tables below the main one: scores by class, what training took, what was left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minorkey.evaluation.scores import DomainScore, ScoreTable, TrainingCost
from minorkey.tasks.metric import Metric


@dataclass(frozen=True)
class ScoreRow:
    """Score of one class, or a further score, one value per column, in the unit of the metric; `None`: undefined."""

    name: str
    values: list[float | None]
    best: float | None
    metric: Metric

    def write(self, value: float) -> str:
        """A value as text."""
        return self.metric.write(value)

    def shade(self, value: float) -> float:
        """How good a value is, 0 ... 1: the score in percent itself, of other units against the best of the row."""
        if self.metric.unit == "%":
            return value / 100
        low, high = sorted(map(abs, (value, self.best or 0.0)))
        return low / high if high else 1.0


def unseen_class_rows(tables: Sequence[ScoreTable]) -> list[ScoreRow]:
    """Per class that occurs, the mean score over the unseen domains that show it; one column per run."""
    metric = tables[0].metric
    rows = [
        _row(metric, name, [_mean_score(name, _showing(name, table)) for table in tables]) for name in tables[0].classes
    ]
    return [row for row in rows if row.best is not None]


def domain_class_rows(table: ScoreTable) -> list[ScoreRow]:
    """Per class that occurs, the score of one run; one column per domain."""
    rows = [_row(table.metric, name, [_mean_score(name, [s]) for s in table.domains]) for name in table.classes]
    return [row for row in rows if row.best is not None]


def domain_detail_rows(table: ScoreTable) -> list[ScoreRow]:
    """The further scores of one run, over all classes; one column per domain."""
    names = dict.fromkeys(name for score in table.domains for name in score.details)
    rows = [_row(table.metric, name, [score.details.get(name) for score in table.domains]) for name in names]
    return [row for row in rows if row.best is not None]


def cost_rows(costs: Sequence[TrainingCost]) -> list[tuple[str, list[str]]]:
    """What training took, ready to print: a quantity and a text per run; what no run measured is left out."""
    rows = {
        "Trained parameters": [_number(cost.trained_parameters) for cost in costs],
        "Share of all parameters": [_share(cost) for cost in costs],
        "Training time": [_duration(cost.seconds) for cost in costs],
        "Images per second": [_number(cost.images_per_second) for cost in costs],
        "Peak memory": [f"{_number(cost.peak_memory_mb)} MB" if cost.peak_memory_mb else "" for cost in costs],
        "Steps": [f"{cost.steps:,}" if cost.steps is not None else "" for cost in costs],
        "Learning rate": [f"{cost.learning_rate:g}" if cost.learning_rate else "" for cost in costs],
        "Seed": [str(cost.seed) if cost.seed is not None else "" for cost in costs],
        "Device": [cost.device or "" for cost in costs],
    }
    return [(name, texts) for name, texts in rows.items() if any(texts)]


def missing_class_notes(tables: Sequence[ScoreTable]) -> list[str]:
    """A line per set of classes that the labels of some domains never show: in no score there, or 0 as found there."""
    metric, of_truth = tables[0].metric.name, tables[0].metric.of_truth
    scores = [score for table in tables for score in table.domains]
    predicted = {(score.domain, name) for score in scores for name in _only_predicted(score, of_truth)}
    missing = {(score.domain, name) for score in scores for name in score.missing_classes}
    never = _by_classes(tables, lambda s: [name for name in s.missing_classes if (s.domain, name) not in predicted])
    wrong = _by_classes(tables, lambda score: _only_predicted(score, of_truth))
    whose = " of a run that predicts it, and not in that of others" if missing & predicted else ""
    return [
        *(f"Never seen in the labels of {where}, so not in the {metric} there: {names}." for names, where in never),
        *(
            f"Predicted, but not in the labels of {where}, so 0 in the {metric}{whose}: {names}."
            for names, where in wrong
        ),
    ]


def _by_classes(
    tables: Sequence[ScoreTable], classes_of: Callable[[DomainScore], Sequence[str]]
) -> list[tuple[str, str]]:
    """Sets of classes, and the domains that each is of, in words."""
    domains: dict[tuple[str, ...], dict[str, None]] = {}
    for score in (score for table in tables for score in table.domains):
        if classes := classes_of(score):
            domains.setdefault(tuple(classes), {})[score.domain] = None
    judged = {score.domain for table in tables for score in table.domains}
    return [
        (", ".join(classes), "any domain" if judged == names.keys() else ", ".join(names))
        for classes, names in domains.items()
    ]


def _showing(name: str, table: ScoreTable) -> list[DomainScore]:
    """The unseen domains that show a class, of which another run may have found nothing where it is not."""
    return [score for score in table.unseen if name not in _only_predicted(score, table.metric.of_truth)]


def _only_predicted(score: DomainScore, of_truth: str) -> list[str]:
    """Classes that have a score, of 0, but none that is a share of the truth."""
    shares = score.class_details.get(of_truth, {})
    return [name for name, value in score.by_class.items() if value == 0 and shares.get(name, value) is None]


def _row(metric: Metric, name: str, scores: Sequence[float | None]) -> ScoreRow:
    values = [None if score is None else metric.amount(score) for score in scores]
    known = [value for value in values if value is not None]
    return ScoreRow(name, values, metric.best(known) if known else None, metric)


def _mean_score(name: str, scores: Sequence[DomainScore]) -> float | None:
    values = [value for score in scores if (value := score.by_class.get(name)) is not None]
    return sum(values) / len(values) if values else None


def _share(cost: TrainingCost) -> str:
    if cost.trained_parameters is None or not cost.total_parameters:
        return ""
    return f"{100 * cost.trained_parameters / cost.total_parameters:.3g} %"


def _number(value: float | None) -> str:
    """Three digits and a unit: 21.3 M, 460 k, 12.5."""
    if value is None:
        return ""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * size:  # what rounds up to a unit is written in it: 1 M, not 1e+03 k
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
