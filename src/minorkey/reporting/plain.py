"""The scores of runs without a page: a table to paste into a pull request or a paper, and numbers to compute with."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from minorkey.evaluation.scores import ScoreTable
from minorkey.plotting.markdown import in_markdown
from minorkey.reporting.adaptation.runs import target_notes
from minorkey.reporting.robustness import all_robustness_rows, robustness_markdown
from minorkey.reporting.runs import Run, read_runs
from minorkey.reporting.seeds import by_method, interval_words
from minorkey.reporting.tables import markdown_table
from minorkey.reporting.verdict import verdict
from minorkey.system.ours import MARKDOWN, TABLE, refuse_unmarked
from minorkey.system.storage import write_csv, write_text


def write_markdown(runs: Sequence[Path], out: Path, title: str | None = None) -> Path:
    """Write what the page says first and its tables of scores, as GitHub's Markdown.

    Args:
        runs: Run folders; those that differ in their seed alone are one row.
        out: The file to write.
        title: A heading; none by default.

    Returns:
        `out`.

    Raises:
        ConfigError: `out` is a file that we did not write.
        DataError: No run is given, or a run folder is missing, incomplete or broken.
        StorageError: The file cannot be written.
    """
    refuse_unmarked([out])
    methods = by_method(read_runs(runs))
    tables = [run.scores for run in methods]
    said = verdict(methods)
    parts = [
        *([f"### {in_markdown(title)}"] if title else []),
        f"**{in_markdown(said.headline)}**",
        *(in_markdown(" ".join(lines)) for lines in (said.details, said.certainty) if lines),
        markdown_table(tables),
        f"In brackets: {interval_words(methods)}.",
        *map(in_markdown, target_notes(methods)),
    ]
    if rows := all_robustness_rows(tables):
        parts.append(robustness_markdown(rows))
    write_text(out, "\n\n".join([MARKDOWN, *parts]) + "\n")
    return out


def write_scores(runs: Sequence[Path], out: Path, title: str | None = None) -> Path:
    """Write a CSV with a line for every run, seed by seed, and domain, and one for the mean of its unseen domains.

    Scores and the ends of their 95 % intervals over images are in the unit of the metric, with all their decimals, and
    empty where there is nothing to score. Arguments and errors are those of `write_markdown`; a table has no title.
    """
    refuse_unmarked([out])
    write_csv(out, TABLE.split(","), (line for run in read_runs(runs) for line in _lines(run)))
    return out


TABLES = {".md": write_markdown, ".csv": write_scores}
"""What a report is, by the ending of its name, where it is no page."""


def _lines(run: Run) -> Iterator[tuple[Any, ...]]:
    table = run.scores
    cost, metric = table.training, table.metric
    adapted = run.settings.get("regime", "supervised"), " ".join(table.adaptation.targets if table.adaptation else [])
    measured = table.protocol.id(), metric.name, metric.unit
    head = (run.folder, table.method, cost.seed, *adapted, cost.steps, *measured)
    for role, domain, images, *scores in _scored(table):
        yield (*head, role, domain, images, *("" if each is None else metric.amount(each) for each in scores))


def _scored(table: ScoreTable) -> Iterator[tuple[Any, ...]]:
    """Role, domain, images, score and the ends of its interval."""
    for each in table.domains:
        yield each.role, each.domain, each.images, each.score, *(each.interval if each.has_spread else (None, None))
    for none in table.unscored:
        yield none.role, none.domain, none.images, None, None, None
    if mean := table.unseen_mean:
        yield "mean", "unseen", "", mean.score, *(mean.interval if table.mean_has_spread else (None, None))
