"""The figures of the page, drawn with matplotlib's object API: no window, no global state."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minorkey.plotting.canvas import plain_canvas
from minorkey.plotting.style import CARD, INK, LINE, MARKERS, METHOD_COLOURS, SPARE_COLOURS
from minorkey.reporting.runs import Run
from minorkey.reporting.tables import Cell, Grid, column_title, run_labels

LETTERS_PER_INCH = 13
"""Of a legend, about."""

NARROW = 4.6
"""Inches: figures of this width can be read on a phone, and stand two by two on a wide page."""


def run_colours(runs: Sequence[Run]) -> list[str]:
    """One colour per run: the method's own for its first run, spare ones for the rest."""
    spare, own = iter(SPARE_COLOURS * len(runs)), dict(METHOD_COLOURS)
    return [own.pop(run.scores.method, "") or next(spare) for run in runs]


def score_figure(grid: Grid, colours: Sequence[str]) -> Figure:
    """Dot plot of scores: a band per domain, in it a dot with its 95 % interval for every run.

    Runs that may not be compared with the others have hollow dots.
    """
    shown = [(i, column) for i, column in enumerate(grid.columns) if column.kind != "worst"]
    figure, axes = plain_canvas(NARROW, 0.9 + len(shown) * (0.16 + 0.09 * len(grid.rows)))
    bands = range(len(shown) - 1, -1, -1)  # first domain on top
    for band, (_, column) in zip(bands, shown, strict=True):
        if column.kind != "unseen":
            axes.axhspan(band - 0.5, band + 0.5, color=LINE, alpha=0.35, linewidth=0)
    for number, (row, colour) in enumerate(zip(grid.rows, colours, strict=True)):
        shift = 0.3 - 0.6 * (number + 0.5) / len(grid.rows)
        dots = [(band + shift, row.cells[i]) for band, (i, _) in zip(bands, shown, strict=True)]
        style = _Style(colour, MARKERS[number % len(MARKERS)], row.label + row.mark, hollow=bool(row.mark))
        _draw_dots(axes, dots, style)
    axes.set_yticks(bands, [column_title(column) for _, column in shown])
    axes.set_ylim(-0.5, len(shown) - 0.5)
    axes.set_xlabel(grid.metric.heading)
    axes.grid(axis="x")
    legend(figure, axes)
    return figure


def curve_figure(runs: Sequence[Run], colours: Sequence[str]) -> Figure | None:
    """Training loss by step: what was logged, pale, and its running mean; `None` where nothing was logged."""
    if not any(_losses(run)[0].size for run in runs):
        return None
    figure, axes = plain_canvas(NARROW, 3.2)
    labels = run_labels([run.scores for run in runs])
    for run, colour, label in zip(runs, colours, labels, strict=True):
        steps, losses = _losses(run)
        if steps.size:
            axes.plot(steps, losses, color=colour, alpha=0.25, linewidth=0.9)
            axes.plot(steps, running_mean(losses, max(1, len(losses) // 15)), color=colour, label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss")
    axes.grid(axis="y")
    legend(figure, axes)
    return figure


def running_mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Centred mean over at most `2 reach + 1` neighbours, `(N,)` to `(N,)`; the ends use what there is."""
    kernel = np.ones(2 * reach + 1)
    return _same(values, kernel) / _same(np.ones_like(values), kernel)


def legend(figure: Figure, axes: Axes) -> None:
    """What the lines and dots of some axes mean, above the figure."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, int(LETTERS_PER_INCH * figure.get_figwidth()) // (max(map(len, labels)) + 6))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False, labelcolor=INK)


@dataclass(frozen=True)
class _Style:
    colour: str
    marker: str
    label: str
    hollow: bool


def _draw_dots(axes: Axes, dots: Sequence[tuple[float, Cell | None]], style: _Style) -> None:
    for height, cell in dots:
        if cell and cell.interval:
            axes.hlines(height, *cell.interval, colors=style.colour, linewidth=1.6)
    axes.plot(
        [cell.value for _, cell in dots if cell],
        [height for height, cell in dots if cell],
        linestyle="",
        marker=style.marker,
        color=style.colour,
        markerfacecolor=CARD if style.hollow else style.colour,
        label=style.label,
        zorder=3,
    )


def _losses(run: Run) -> tuple[np.ndarray, np.ndarray]:
    points = [(record["step"], record["loss"]) for record in run.log if "step" in record and "loss" in record]
    steps, losses = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return steps, losses


def _same(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    margin = len(kernel) // 2
    return np.convolve(values, kernel)[margin : margin + len(values)]
