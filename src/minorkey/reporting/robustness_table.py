"""Scores under corruption as they are printed."""

from collections.abc import Sequence

from rich.table import Table

from minorkey.data.corruptions import CORRUPTIONS, SEVERITIES
from minorkey.reporting.robustness import RobustnessRow, percent, summarise


def robustness_table(rows: Sequence[RobustnessRow]) -> Table:
    """A line per domain and corruption, scores in percent by severity, and a last one for the mean of each domain."""
    shown = [severity for severity in SEVERITIES if any(severity in row.scores for row in rows)]
    table = Table("domain", "corruption")
    for title in ("clean", *map(str, shown), "mean", "kept, %"):
        table.add_column(title, justify="right")
    for row in rows:
        scores = [row.scores.get(severity) for severity in shown]
        cells = map(percent, [row.clean, *scores, row.mean, row.kept])
        table.add_row(row.domain, CORRUPTIONS[row.corruption].title, *cells)
    for each in summarise(rows):
        empty = [""] * len(shown)
        table.add_row(
            each.domain,
            f"mean of {each.corruptions}",
            percent(each.clean),
            *empty,
            *map(percent, [each.mean, each.kept]),
        )
    return table
