"""Scores against the severity of corruptions: a line each, or a small plot each where there are many."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import ceil

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from minorkey.data.corruptions import CORRUPTIONS, SEVERITIES, corruption_title
from minorkey.plotting.style import INK, LINE, MARKERS, METHOD_COLOURS, SPARE_COLOURS
from minorkey.reporting.robustness import RobustnessRow, metric_heading

MANY = 8
"""More lines than this in one plot cannot be told apart."""
COLUMNS = 4
CORRUPTION_COLOURS = (*METHOD_COLOURS.values(), *SPARE_COLOURS)


def draw_robustness(rows: Sequence[RobustnessRow], colours: Mapping[str, str] | None = None) -> Figure:
    """Draw the rows of `robustness_rows`, of one run or of several.

    A single run in one domain with at most eight corruptions is one plot with a line for each; everything else
    is a small plot for each corruption, with a line for each run and domain. The score of the clean domain is
    dashed.

    Args:
        rows: at least one.
        colours: a colour for the `run` of the rows; by method where `None`.
    """
    curves = {name: [row for row in rows if _curve(row, rows) == name] for name in _names(rows)}
    if len(curves) == 1 and len(rows) <= MANY:
        return _one_plot(rows)
    return _small_plots(curves, colours or _run_colours(rows))


def _one_plot(rows: Sequence[RobustnessRow]) -> Figure:
    figure, (axes,) = _canvas(1, (6.8, 3.6))
    for row, colour, marker in zip(rows, CORRUPTION_COLOURS, cycle(MARKERS), strict=False):
        _line(axes, row, colour, marker, corruption_title(row.corruption))
    if rows[0].clean is not None:
        axes.axhline(rows[0].metric.amount(rows[0].clean), color=INK, linestyle="--", linewidth=1, label="clean")
    axes.set_ylim(bottom=0)
    axes.set_ylabel(metric_heading(rows))
    axes.set_xlabel("severity")
    _legend(figure, axes)
    return figure


def _small_plots(curves: Mapping[str, Sequence[RobustnessRow]], colours: Mapping[str, str]) -> Figure:
    judged = {row.corruption for rows in curves.values() for row in rows}
    names = [name for name in CORRUPTIONS if name in judged] + sorted(judged - CORRUPTIONS.keys())
    lines = ceil(len(names) / COLUMNS)
    figure, plots = _canvas(len(names), (8.4, 0.7 + 1.75 * lines))
    for axes, name in zip(plots, names, strict=True):
        axes.set_title(corruption_title(name), fontsize=9, color=INK)
        for (label, rows), marker in zip(curves.items(), cycle(MARKERS), strict=False):
            _line_and_clean(axes, [row for row in rows if row.corruption == name], colours, marker, label)
    plots[0].set_ylim(bottom=0)  # shared by all
    figure.supylabel(metric_heading([row for rows in curves.values() for row in rows]), fontsize=9, color=INK)
    figure.supxlabel("severity (dashed: clean)", fontsize=9, color=INK)
    _legend(figure, *plots)
    return figure


def _line_and_clean(
    axes: Axes, rows: Sequence[RobustnessRow], colours: Mapping[str, str], marker: str, label: str
) -> None:
    for row in rows:
        _line(axes, row, colours[row.run], marker, label)
        if row.clean is not None:
            axes.axhline(row.metric.amount(row.clean), color=colours[row.run], linestyle="--", linewidth=0.8)


def _line(axes: Axes, row: RobustnessRow, colour: str, marker: str, label: str) -> None:
    scores = list(map(row.metric.amount, row.scores.values()))
    axes.plot(list(row.scores), scores, color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)


def _names(rows: Sequence[RobustnessRow]) -> list[str]:
    return list(dict.fromkeys(_curve(row, rows) for row in rows))


def _curve(row: RobustnessRow, rows: Sequence[RobustnessRow]) -> str:
    """What tells a line from the others: the run, and the domain and the protocol where they differ."""
    name = row.run
    if len({other.domain for other in rows}) > 1:
        name += f", {row.domain}"
    if len({other.protocol for other in rows}) > 1:
        name += f" (protocol {row.protocol})"
    return name


def _run_colours(rows: Sequence[RobustnessRow]) -> dict[str, str]:
    """The method's colour for its first run, spare ones for the rest."""
    spare, own = cycle(SPARE_COLOURS), dict(METHOD_COLOURS)
    methods = {row.run: row.method for row in rows}
    return {run: own.pop(method, "") or next(spare) for run, method in methods.items()}


def _canvas(count: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Plots that share their axes; empty places of the grid are left out."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    columns = min(count, COLUMNS)
    first: Axes | None = None
    plots = []
    for place in range(1, count + 1):
        axes = figure.add_subplot(ceil(count / columns), columns, place, sharex=first, sharey=first)
        first = first or axes
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(LINE)
        axes.tick_params(colors=INK, length=0, labelsize=8)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=LINE, linewidth=0.8)
        axes.set_xticks(SEVERITIES)
        plots.append(axes)
    return figure, plots


def _legend(figure: Figure, *plots: Axes) -> None:
    labels = {label: handle for axes in plots for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    columns = max(1, 88 // (max(map(len, labels)) + 6))
    figure.legend(
        labels.values(), labels.keys(), loc="outside upper center", ncols=columns, frameon=False, labelcolor=INK
    )
