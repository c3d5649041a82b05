"""What the commands print at their end."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

import typer
from rich.table import Table

from minorkey.reporting.next_steps import Step
from minorkey.reporting.runs import read_run
from minorkey.reporting.seeds import by_method, interval_words
from minorkey.reporting.tables import rich_table
from minorkey.runs.leave_one_out import FoldScore
from minorkey.system.console import PlainConsole


def show_scores(folders: Sequence[Path]) -> None:
    """Print the scores of run folders as one table; runs that differ in their seed alone are one column."""
    methods = by_method([read_run(folder) for folder in folders])
    tables, interval = [method.scores for method in methods], interval_words(methods)
    console = PlainConsole()
    console.print(rich_table(tables, interval))
    for protocol in {table.protocol.id(): table.protocol for table in tables}.values():
        text = f"{protocol.scored.in_unit}, {interval}; {protocol.describe()}"
        console.print(text, highlight=False, soft_wrap=True)


def show_next(steps: Iterable[Step]) -> None:
    """Print what can be done next, as commands."""
    steps = list(steps)
    if steps:
        typer.echo("what to do next")
    for step in steps:
        typer.echo(f"  {step.why}\n    {step.command}")


def show_folds(folds: Sequence[FoldScore]) -> None:
    """Print the score of each domain that was left out, and their mean."""
    metric = folds[0].scores.metric

    def write(score: float | None) -> str:
        return "none" if score is None else metric.number(score)

    table = Table(title=f"{metric.heading}, each domain left out of training once, 95 % interval over images")
    for heading in ("unseen domain", "images", metric.name, "validation images of the others"):
        table.add_column(heading, justify="left" if heading == "unseen domain" else "right")
    for fold in folds:
        score, low, high = map(write, (fold.unseen.score, *fold.interval))
        seen = "" if fold.validation is None else metric.number(fold.validation)
        shown = score if fold.unseen.score is None else f"{score} [{low}, {high}]"
        table.add_row(fold.unseen.domain, str(fold.unseen.images), shown, seen)
    known = [fold.unseen.score for fold in folds if fold.unseen.score is not None]
    table.add_section()
    table.add_row("mean", "", write(fmean(known) if known else None), "")
    console = PlainConsole()
    console.print(table)
    console.print(f"{metric.in_unit}; {folds[0].scores.protocol.describe()}", highlight=False, soft_wrap=True)
