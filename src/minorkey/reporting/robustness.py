"""Scores under corruption, from the domains `NAME+CORRUPTION@SEVERITY` of a run, as the run has them.

Two summaries: *mean score under corruption* is the mean over corruptions of the mean over severities; *share of the
clean score kept* divides it by the score of the domain without a corruption; of an error it is above 1. Neither is the
mCE of ImageNet-C, which is an error relative to that of AlexNet.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from minorkey.data.corruptions import CORRUPTED, CORRUPTIONS, SEVERITIES, corruption_title
from minorkey.evaluation.scores import DomainScore, ScoreTable
from minorkey.plotting.markdown import in_markdown
from minorkey.reporting.tables import run_labels
from minorkey.system.storage import write_json, write_text
from minorkey.tasks.metric import Metric

DIGITS = 6
"""Decimals of what is written."""


@dataclass(frozen=True)
class RobustnessRow:
    """One run in one domain under one corruption."""

    run: str
    method: str
    protocol: str  # id of the protocol; only rows of the same one may be compared
    domain: str  # the clean one
    corruption: str
    metric: Metric  # of the scores
    scores: dict[int, float]  # by severity, as far as it was judged
    clean: float | None  # score of the clean domain; None: not judged

    @property
    def mean(self) -> float:
        """Mean score over the severities."""
        return fmean(self.scores.values())

    @property
    def kept(self) -> float | None:
        """Share of the clean score kept, or `None` without a clean score above 0."""
        return self.mean / self.clean if self.clean else None


@dataclass(frozen=True)
class RobustnessSummary:
    """One run in one domain over all its corruptions."""

    run: str
    method: str
    domain: str
    corruptions: int
    mean: float  # mean score under corruption
    clean: float | None
    kept: float | None  # share of the clean score kept
    even: bool  # every corruption was judged at the same severities
    metric: Metric

    def texts(self) -> list[str]:
        """Clean score, mean under corruption and share kept, as they are printed."""
        return [_number(self.metric, self.clean), _number(self.metric, self.mean), _share(self.kept)]


def robustness_rows(table: ScoreTable, label: str | None = None) -> list[RobustnessRow]:
    """The corrupted domains of a run, a row per corruption; empty where it was judged under none.

    Args:
        table: the scores of the run.
        label: what to call the run; its name where `None`. Rows of several runs may be put into one list, with
            labels that differ.
    """
    clean = {score.domain: score.score for score in table.domains}
    found: dict[tuple[str, str], dict[int, float]] = {}
    for score, match in _corrupted(table):
        by_severity = found.setdefault((match["domain"], match["corruption"]), {})
        by_severity[int(match["severity"])] = score.score
    places = {name: place for place, name in enumerate(CORRUPTIONS)}
    return [
        RobustnessRow(
            run=label or table.run,
            method=table.method,
            protocol=table.protocol.id(),
            domain=domain,
            corruption=corruption,
            metric=table.metric,
            scores=dict(sorted(by_severity.items())),
            clean=clean.get(domain),
        )
        for (domain, corruption), by_severity in sorted(
            found.items(), key=lambda item: (item[0][0], places.get(item[0][1], len(places)))
        )
    ]


def all_robustness_rows(tables: Sequence[ScoreTable]) -> list[RobustnessRow]:
    """Those of several runs that are set side by side, each under its label."""
    return [
        row for table, label in zip(tables, run_labels(tables), strict=True) for row in robustness_rows(table, label)
    ]


def summarise(rows: Sequence[RobustnessRow]) -> list[RobustnessSummary]:
    """One summary for each run and domain, in their order."""
    return [_summary(list(group)) for _, group in groupby(rows, key=lambda row: (row.run, row.domain))]


def metric_heading(rows: Sequence[RobustnessRow]) -> str:
    """Name and unit of their scores; "score" where they differ."""
    headings = {row.metric.heading for row in rows}
    return headings.pop() if len(headings) == 1 else "score"


def robustness_markdown(rows: Sequence[RobustnessRow]) -> str:
    """A GitHub table: a line per run, domain and corruption, and a last one for each mean."""
    names = {row.metric.name for row in rows}
    mean = f"mean {names.pop() if len(names) == 1 else 'score'}"
    head = ["run", "domain", "corruption", *map(str, SEVERITIES), mean, _kept_title(rows)]
    lines = [head, ["---"] * 3 + ["---:"] * (len(head) - 3)]
    for row in rows:
        lines.append([*map(in_markdown, (row.run, row.domain, row.corruption)), *_scores(row, SEVERITIES), *_mean(row)])
    for each in summarise(rows):
        kind = f"mean of {each.corruptions}" + ("" if each.even else ", not all at the same severities")
        empty = [""] * len(SEVERITIES)
        lines.append([in_markdown(each.run), in_markdown(each.domain), kind, *empty, *each.texts()[1:]])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def robustness_table(rows: Sequence[RobustnessRow]) -> Table:
    """For the terminal: a line per domain and corruption, scores by severity, and a last one for each mean."""
    shown = [severity for severity in SEVERITIES if any(severity in row.scores for row in rows)]
    table = Table("domain", "corruption")
    for title in ("clean", *map(str, shown), "mean", f"{_kept_title(rows)}, %"):
        table.add_column(title, justify="right")
    for row in rows:
        clean = _number(row.metric, row.clean)
        table.add_row(row.domain, corruption_title(row.corruption), clean, *_scores(row, shown), *_mean(row))
    for each in summarise(rows):
        clean, *mean = each.texts()
        table.add_row(each.domain, f"mean of {each.corruptions}", clean, *[""] * len(shown), *mean)
    return table


def write_robustness(folder: Path, rows: Sequence[RobustnessRow]) -> None:
    """Write `robustness.csv`, a line per row, and `robustness.json`, which has the summaries too.

    Raises:
        StorageError: a file cannot be written.
    """
    lines = [_flat(row) for row in rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _flat_names(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_text(folder / "robustness.csv", buffer.getvalue())
    summaries = [
        {name: _rounded(value) for name, value in vars(each).items() if name != "metric"} for each in summarise(rows)
    ]
    write_json(folder / "robustness.json", {"rows": lines, "summaries": summaries})


def _corrupted(table: ScoreTable) -> Iterator[tuple[DomainScore, re.Match[str]]]:
    for score in table.domains:
        if match := CORRUPTED.fullmatch(score.domain):
            yield score, match


def _summary(rows: Sequence[RobustnessRow]) -> RobustnessSummary:
    first, mean = rows[0], fmean(row.mean for row in rows)
    return RobustnessSummary(
        run=first.run,
        method=first.method,
        domain=first.domain,
        corruptions=len(rows),
        mean=mean,
        clean=first.clean,
        kept=mean / first.clean if first.clean else None,
        even=all(row.scores.keys() == first.scores.keys() for row in rows),
        metric=first.metric,
    )


def _flat_names() -> list[str]:
    severities = [f"severity_{severity}" for severity in SEVERITIES]
    return ["run", "method", "protocol", "domain", "corruption", *severities, "mean", "clean", "kept"]


def _flat(row: RobustnessRow) -> dict[str, Any]:
    scores = [row.scores.get(severity) for severity in SEVERITIES]
    named = [row.run, row.method, row.protocol, row.domain, row.corruption]
    values = [*named, *map(_rounded, [*scores, row.mean, row.clean, row.kept])]
    return dict(zip(_flat_names(), values, strict=True))


def _rounded(value: Any) -> Any:
    return round(value, DIGITS) if isinstance(value, float) else value


def _scores(row: RobustnessRow, severities: Sequence[int]) -> list[str]:
    return [_number(row.metric, row.scores.get(severity)) for severity in severities]


def _mean(row: RobustnessRow) -> list[str]:
    """The mean and the share kept, as they are printed."""
    return [_number(row.metric, row.mean), _share(row.kept)]


def _number(metric: Metric, score: float | None) -> str:
    return "–" if score is None else metric.number(score)


def _share(value: float | None) -> str:
    """In percent."""
    return "–" if value is None else f"{100 * value:.1f}"


def _kept_title(rows: Sequence[RobustnessRow]) -> str:
    return "kept" if all(row.metric.higher_is_better for row in rows) else "of clean"
