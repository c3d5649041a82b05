"""The figures about adaptation: health signals, losses by name, classes of the pseudo-labels, gains per class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minorkey.labels import LabelSpace
from minorkey.plotting.canvas import canvas
from minorkey.plotting.style import INK, LINE
from minorkey.reporting.adaptation.log import SIGNALS, LogPart, loss_names, series
from minorkey.reporting.adaptation.runs import Comparison
from minorkey.reporting.figures import legend, running_mean

COLUMNS = 3
COLLAPSE, GAIN, LOSS = "#e22330", "#1c8a7c", "#d1603d"
MOST_CLASSES, LEAST_SHARE = 24, 0.1
"""A figure of classes shows so many at most, of those that ever reach so many percent."""
ENDS = 10
"""The first and the last of this many parts of a log are what a class held at first and at last."""


@dataclass(frozen=True)
class Line:
    """A run as the curves show it."""

    label: str
    colour: str
    parts: Sequence[LogPart]


def signal_figure(lines: Sequence[Line], things: str) -> Figure | None:
    """A plot for each of confidence, share kept and agreement, in percent; `None` where none was logged."""
    names = [name for name in SIGNALS if any(series(line.parts, name).size for line in lines)]
    return _small_plots(lines, names, lambda name: SIGNALS[name].format(things=things), 100) if names else None


def loss_figure(lines: Sequence[Line]) -> Figure | None:
    """A plot for each loss that was logged by name, of a scale of its own; `None` where none was."""
    names = list(dict.fromkeys(name for line in lines for name in loss_names(line.parts)))
    return _small_plots(lines, names, lambda name: name.replace("_", " "), 1) if names else None


def class_figure(parts: Sequence[LogPart], space: LabelSpace, things: str) -> Figure | None:
    """A bar per class: its share of the last pseudo-labels, beside that of the first and of the source labels.

    `None` where the shares were not logged, or are of other classes.
    """
    pseudo, source = series(parts, "pseudo_classes"), series(parts, "source_classes")
    if not len(pseudo) or not len(source) or {pseudo.shape[1:], source.shape[1:]} != {(len(space),)}:
        return None
    end = max(1, len(pseudo) // ENDS)
    first, last, prior = (100 * shares.mean(axis=0) for shares in (pseudo[:end], pseudo[-end:], source))
    top = np.maximum.reduce([first, last, prior])
    shown = sorted(int(i) for i in np.argsort(-top, kind="stable")[:MOST_CLASSES] if top[i] >= LEAST_SHARE)
    figure, axes = _bar_canvas(len(shown), [space.classes[place] for place in shown])
    rows = np.arange(len(shown))
    axes.barh(rows, last[shown], 0.62, color=space.colours[shown] / 255, edgecolor=INK, linewidth=0.4)
    axes.plot(first[shown], rows, "o", color=INK, markerfacecolor="none", markersize=5, label="pseudo-labels at first")
    axes.plot(prior[shown], rows, "|", color=INK, markersize=13, markeredgewidth=2.2, label="source labels")
    axes.set_xlabel(f"share of the {things}, % (bars: pseudo-labels at last)")
    legend(figure, axes)
    return figure


def gain_figure(comparison: Comparison) -> Figure:
    """A bar per class: points that adaptation added to its score or took; beside it both scores."""
    metric, changes = comparison.metric, comparison.classes
    figure, axes = _bar_canvas(len(changes), [change.name for change in changes])
    rows, points = np.arange(len(changes)), np.array([change.points for change in changes])
    axes.barh(rows, points, 0.62, color=[GAIN if metric.rank(value) <= 0 else LOSS for value in points])
    axes.axvline(0, color=INK, linewidth=0.8)
    reach = max(1.0, *np.abs(points))
    axes.set_xlim(min(0.0, points.min()) - 0.05 * reach, max(0.0, points.max()) + 0.45 * reach)
    for row, change in enumerate(changes):
        before, after = metric.write(change.before), metric.write(change.after)
        text = f" {metric.write(change.points, sign='+')}   ({before} → {after})".replace("-", "−")
        axes.text(max(change.points, 0), row, text, va="center", fontsize=8, color=INK)
    unit = f", {metric.unit}" if metric.unit else ""
    axes.set_xlabel(f"{metric.of_points(metric.class_name or '')} added by adaptation (without → with{unit})")
    return figure


def _small_plots(lines: Sequence[Line], names: Sequence[str], title: Callable[[str], str], factor: float) -> Figure:
    columns = min(COLUMNS, len(names))
    rows = ceil(len(names) / columns)
    figure, plots = canvas(rows, columns, 3.0 * columns, 0.6 + 2.1 * rows, share=False)
    for axes, name in zip(plots, names, strict=False):
        axes.set_title(title(name), fontsize=9)
        axes.tick_params(labelsize=8)
        for line in lines:
            _draw_curve(axes, line, name, factor)
    for axes in plots[len(names) :]:
        axes.set_visible(False)
    _describe(figure, lines)
    figure.supxlabel("step", fontsize=9, color=INK)
    if factor == 100:
        figure.supylabel("%", fontsize=9, color=INK)
    return figure


def _describe(figure: Figure, lines: Sequence[Line]) -> None:
    """The legend: every run, and what the upright lines mean."""
    axes = figure.axes[0]
    for line in lines:
        axes.plot([], [], color=line.colour, label=line.label)
    if any(line.parts[1:] for line in lines):
        axes.plot([], [], color=INK, linewidth=0.8, linestyle=":", label="a round begins")
    if any(part.collapses() for line in lines for part in line.parts):
        axes.plot([], [], color=COLLAPSE, linewidth=1, linestyle="--", label="collapse")
    legend(figure, axes)


def _draw_curve(axes: Axes, line: Line, name: str, factor: float) -> None:
    """What was logged, pale, and its running mean, each part by itself."""
    for part in line.parts:
        steps, values = part.curve(name)
        if not steps.size:
            continue
        axes.plot(steps, factor * values, color=line.colour, alpha=0.25, linewidth=0.8)
        axes.plot(steps, factor * running_mean(values, len(values) // 15), color=line.colour, linewidth=1.4)
        if part.begin:
            axes.axvline(part.begin, color=INK, linewidth=0.8, linestyle=":")
        for step in part.collapses().values():
            axes.axvline(part.begin + step, color=COLLAPSE, linewidth=1, linestyle="--")


def _bar_canvas(bars: int, names: Sequence[str]) -> tuple[Figure, Axes]:
    """Axes for lying bars, the first on top."""
    figure, (axes,) = canvas(1, 1, 6.8, 0.9 + 0.24 * bars)
    axes.grid(visible=False)
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.set_yticks(range(bars), names)
    axes.invert_yaxis()
    return figure, axes
