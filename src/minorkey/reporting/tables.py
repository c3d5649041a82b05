"""Scores of several runs in one grid, drawn as Markdown, in the terminal, or by the page.

Only runs that were measured in the same way stand in one comparison: the rows of the largest such group.
Every other row carries a mark and a footnote, and is never the best of a column.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from minorkey.adapters.specs import METHODS
from minorkey.data.corruptions import clean_domain
from minorkey.evaluation.bootstrap import Interval
from minorkey.evaluation.scores import FINGERPRINTS, DomainScore, MeanScore, ScoreTable
from minorkey.plotting.markdown import in_markdown
from minorkey.tasks.metric import Metric
from minorkey.tasks.protocol import Protocol

MARKS = "†‡§¶"

REGIMES = {"supervised": "", "self_training": "self-training", "transda": "TransDA"}
"""As tables call what a run did with its target; regimes from outside have their own names."""


@dataclass(frozen=True)
class Cell:
    """One score, in the unit of its metric."""

    value: float
    interval: Interval | None = None  # 95 %
    note: str = ""  # the domain, in the column of the worst one
    best: bool = False
    write: Callable[[float], str] = "{:.1f}".format  # the score, or an end of its interval, as text


@dataclass(frozen=True)
class Column:
    """A column of the grid."""

    title: str
    kind: Literal["source", "unseen", "mean", "worst"]
    empty: str = "–"  # in place of a score: none, where the truth of a domain leaves nothing to score


@dataclass(frozen=True)
class RunRow:
    """One run; `None` where it was not judged in a column's domain."""

    label: str
    cells: list[Cell | None]
    mark: str = ""  # set where the row may not be compared with the unmarked ones


@dataclass(frozen=True)
class Grid:
    """Runs x domains."""

    columns: list[Column]
    rows: list[RunRow]
    footnotes: list[str]
    metric: Metric  # of the rows that are compared


def build_grid(tables: Sequence[ScoreTable]) -> Grid:
    """Lay the runs out; source domains first, then unseen ones, their mean and the worst."""
    columns = _columns(tables)
    marks, footnotes = _marks(tables)
    rows = [
        RunRow(label, [_cell(table, column) for column in columns], mark)
        for label, table, mark in zip(run_labels(tables), tables, marks, strict=True)
    ]
    metric = reference(tables).metric
    return Grid(columns, _with_best(rows, metric), [*footnotes, *_unscored(tables)], metric)


def markdown_table(tables: Sequence[ScoreTable]) -> str:
    """A GitHub table of scores with 95 % intervals; the best of a column in bold."""
    grid = build_grid(tables)
    lines = [
        [grid.metric.heading, *(in_markdown(column_title(each)) for each in grid.columns)],
        ["---"] + ["---:"] * len(grid.columns),
    ]
    lines += [[in_markdown(row.label) + row.mark, *_texts(row, grid.columns)] for row in grid.rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join([table, *map(in_markdown, grid.footnotes)])


def rich_table(tables: Sequence[ScoreTable], interval: str = "95 % bootstrap interval over images") -> Table:
    """The same scores for the terminal, turned round: domains are rows, so that many fit into 80 columns."""
    grid = build_grid(tables)
    drawn = Table(title=f"{grid.metric.in_unit}, {interval}", caption="\n".join(grid.footnotes) or None)
    drawn.add_column("domain")
    for row in grid.rows:
        drawn.add_column(row.label + row.mark, justify="right")
    for i, column in enumerate(grid.columns):
        following = grid.columns[i + 1 : i + 2]
        drawn.add_row(
            column_title(column),
            *(_marked(row.cells[i], column) for row in grid.rows),
            style="dim" if column.kind == "source" else "",
            end_section=bool(following) and following[0].kind != column.kind,
        )
    return drawn


def method_name(method: str) -> str:
    """The method as it is written in prose; an outsider's own keeps its name."""
    return METHODS[method].title if method in METHODS else method


def run_labels(tables: Sequence[ScoreTable]) -> list[str]:
    """Method and adaptation, followed by the run's name where several runs share them; an oracle is called one.

    No two are alike: a run that is there twice, e.g. under two protocols, is numbered.
    """
    names = [method_label(t) + _adaptation(t) + (" (oracle)" if t.protocol.weights == "oracle" else "") for t in tables]
    count = Counter(names)
    titles, seen = [], Counter[tuple[str, str]]()
    for name, table in zip(names, tables, strict=True):
        seen[name, table.run] += 1
        again = f", {seen[name, table.run]}" if seen[name, table.run] > 1 else ""
        titles.append(name if count[name] == 1 else f"{name} ({table.run}{again})")
    return titles


def is_start(table: ScoreTable) -> bool:
    """Whether these are the scores of what others began with: nothing was trained."""
    return table.training.steps == 0


def method_label(table: ScoreTable) -> str:
    """The method of a run as the page calls it."""
    return "Frozen start" if is_start(table) else method_name(table.method)


def _adaptation(table: ScoreTable) -> str:
    """How the run adapted to a target, after its method: `, self-training by ema`."""
    how = table.adaptation
    return f", {REGIMES.get(how.regime, how.regime)} by {how.teacher}" if how else ""


def column_title(column: Column) -> str:
    """The title, with the role of a source domain."""
    return f"{column.title} (source)" if column.kind == "source" else column.title


def comparable(tables: Sequence[ScoreTable]) -> list[bool]:
    """Which runs belong to the largest group measured in the same way, on the same images and classes."""
    known = fingerprints(tables)
    keys = [measurement(table, known) for table in tables]
    largest = Counter(keys).most_common(1)[0][0]
    return [key == largest for key in keys]


def reference(tables: Sequence[ScoreTable]) -> ScoreTable:
    """The first run of the group that `comparable` names."""
    return next(table for table, same in zip(tables, comparable(tables), strict=True) if same)


def fingerprints(tables: Sequence[ScoreTable]) -> list[str]:
    """Those of `FINGERPRINTS` that all of these scores have."""
    scores = [score for table in tables for score in table.domains]
    return [name for name in FINGERPRINTS if all(getattr(score, name) is not None for score in scores)]


def measurement(table: ScoreTable, known: Collection[str]) -> tuple:
    """What must be equal for scores to be compared: task, protocol, classes and, last, scored domains and images.

    A teacher's weights are the last ones of the training that it belongs to. Which images of the source are judged may
    be drawn by the seed of a run, so that seeds differ in it; they are told apart where images are paired
    (`differences`).

    Args:
        table: the scores.
        known: the fingerprints by which images are told apart, beside their number.
    """
    domains = frozenset(
        (score.domain, score.role, score.images, *(score.role == "source" or getattr(score, name) for name in known))
        for score in table.domains
    )
    return table.task, _protocol(table).id(), tuple(table.classes), domains


def _protocol(table: ScoreTable) -> Protocol:
    """The protocol as far as it makes a difference: not by whom weights were learnt, nor by the order of classes."""
    protocol, changes = table.protocol, dict[str, Any]()
    if protocol.weights == "teacher":
        changes["weights"] = "last"
    if protocol.classes_scored is not None:
        changes["classes_scored"] = tuple(sorted(set(protocol.classes_scored)))
    return protocol.model_copy(update=changes)


def _columns(tables: Sequence[ScoreTable]) -> list[Column]:
    judged = [score for t in tables for score in t.domains if score.role == "source" or score in t.unseen]
    seen = {(score.role, score.domain): None for score in judged}
    unscored = [each for table in tables for each in table.unscored]
    names = {each.domain for each in unscored} | {score.domain for table in tables for score in table.domains}
    empty = {(e.role, e.domain): None for e in unscored if not (names - {e.domain}) & {clean_domain(e.domain)}}
    columns = [
        Column(domain, role) if (role, domain) in seen else Column(domain, role, "none")
        for wanted in ("source", "unseen")
        for role, domain in seen | empty
        if role == wanted
    ]
    if any(table.unseen_mean for table in tables):
        columns += [Column("unseen mean", "mean"), Column("worst unseen", "worst")]
    return columns


def _cell(table: ScoreTable, column: Column) -> Cell | None:
    metric = table.metric
    if column.kind == "worst":
        worst = table.worst
        return Cell(metric.amount(worst.score), note=worst.domain, write=metric.write) if worst else None
    found: MeanScore | DomainScore | None = table.unseen_mean
    if column.kind != "mean":
        found = next((s for s in table.domains if (s.domain, s.role) == (column.title, column.kind)), None)
    if found is None:
        return None
    spread = found.has_spread if isinstance(found, DomainScore) else table.mean_has_spread
    interval = Interval(*map(metric.amount, found.interval)) if spread else None
    return Cell(metric.amount(found.score), interval, write=metric.write)


def _marks(tables: Sequence[ScoreTable]) -> tuple[list[str], list[str]]:
    """A mark per run, empty for comparable ones, and a footnote per kind of difference."""
    footnotes: dict[str, str] = {}
    marks = []
    for table, same in zip(tables, comparable(tables), strict=True):
        if same:
            marks.append("")
            continue
        reason = _difference(table, reference(tables))
        times, place = divmod(len(footnotes), len(MARKS))
        mark = footnotes.setdefault(reason, MARKS[place] * (1 + times))
        marks.append(mark)
    return marks, [f"{mark} Not comparable with the other rows: {reason}." for reason, mark in footnotes.items()]


def _unscored(tables: Sequence[ScoreTable]) -> list[str]:
    """A footnote per domain without a score."""
    reasons = {each.domain: each.why for table in tables for each in table.unscored}
    return [f"{domain}: {why}, so its score is none, and no mean has it." for domain, why in reasons.items()]


def _difference(table: ScoreTable, compared: ScoreTable) -> str:
    if _protocol(table) != _protocol(compared):
        metric = f"{table.metric.in_unit}; " if table.metric.name != compared.metric.name else ""
        return f"measured under another protocol ({table.protocol.id()}: {metric}{table.protocol.describe()})"
    if table.classes != compared.classes:
        return f"its label space is also called '{table.label_space}', but has other classes"
    names = [{(score.domain, score.role) for score in each.domains} for each in (table, compared)]
    if names[0] != names[1]:
        return "judged on other domains"
    return "judged on other images, or images with other labels"


def _with_best(rows: Sequence[RunRow], metric: Metric) -> list[RunRow]:
    compared = [row for row in rows if not row.mark]
    if len(compared) < 2:
        return list(rows)
    columns = zip(*(row.cells for row in compared), strict=True)
    values = [[cell.value for cell in column if cell] for column in columns]
    best = [metric.best(column) if column else None for column in values]
    return [row if row.mark else _highlight(row, best) for row in rows]


def _highlight(row: RunRow, best: Sequence[float | None]) -> RunRow:
    cells = [cell and replace(cell, best=cell.value == top) for cell, top in zip(row.cells, best, strict=True)]
    return replace(row, cells=cells)


def _texts(row: RunRow, columns: Sequence[Column]) -> list[str]:
    cells = [cell and replace(cell, note=in_markdown(cell.note)) for cell in row.cells]
    return [_text(cell, column, "**") for cell, column in zip(cells, columns, strict=True)]


def _text(cell: Cell | None, column: Column, strong: str = "") -> str:
    if cell is None:
        return column.empty
    value = cell.write(cell.value)
    value = f"{strong}{value}{strong}" if cell.best else value
    if cell.interval:
        return f"{value} [{cell.write(cell.interval.low)}, {cell.write(cell.interval.high)}]"
    return f"{value} ({cell.note})" if cell.note else value


def _marked(cell: Cell | None, column: Column) -> Text:
    return Text(_text(cell, column), "bold" if cell and cell.best else "")
