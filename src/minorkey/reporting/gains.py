"""The scatter of what was gained where a method was trained against what was gained where it was not."""

from collections.abc import Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minorkey.plotting.canvas import plain_canvas
from minorkey.plotting.style import CARD, INK, MARKERS
from minorkey.reporting.compared import Compared, Entry
from minorkey.reporting.differences import mean_score
from minorkey.reporting.figures import NARROW, legend
from minorkey.reporting.runs import Run

Point = tuple[float, float]
"""Score, or its change, on the source and in unseen domains; in the unit of the metric."""


def gain_figure(parts: Compared, runs: Sequence[Run], colours: Sequence[str]) -> Figure | None:
    """A dot for each seed of each method, and a ring at the mean of several; the baseline is where nothing is gained.

    Without a baseline the scores themselves. None where the source was not judged.

    Args:
        parts: of the comparison.
        runs: one for each method.
        colours: theirs.
    """
    if not parts.source:
        return None
    figure, axes = plain_canvas(NARROW, 3.8)
    axes.grid(visible=True)
    entries = {entry.run.folder: entry for entry in parts.entries}
    for number, (run, colour) in enumerate(zip(runs, colours, strict=True)):
        entry = entries.get(run.folder)
        if entry is not None and entry is parts.baseline:
            _cross(axes, entry.label, colour)
        elif entry is not None:
            _draw(axes, points(entry, parts), entry.label, colour, MARKERS[number % len(MARKERS)])
    _name(axes, parts)
    legend(figure, axes)
    return figure


def points(entry: Entry, parts: Compared) -> list[Point]:
    """One for each seed of a method; against the same seed of the baseline, where that has seeds of its own."""
    runs, baseline = entry.run.seeds, parts.baseline
    scores = [_scores(run, parts) for run in runs]
    if baseline is None:
        return scores
    by_seed = {run.scores.training.seed: run for run in baseline.run.seeds} if baseline.run.members else {}
    begun = [_scores(by_seed.get(run.scores.training.seed, baseline.run), parts) for run in runs]
    return [(mine[0] - theirs[0], mine[1] - theirs[1]) for mine, theirs in zip(scores, begun, strict=True)]


def _scores(run: Run, parts: Compared) -> Point:
    home, unseen = (mean_score(run, domains) for domains in (parts.source, parts.unseen))
    assert home is not None, "comparable runs were judged in the same domains"
    assert unseen is not None, "comparable runs were judged in the same domains"
    return run.scores.metric.amount(home), run.scores.metric.amount(unseen)


def _draw(axes: Axes, found: Sequence[Point], label: str, colour: str, marker: str) -> None:
    x, y = zip(*found, strict=True)
    if len(found) == 1:
        axes.plot(x, y, linestyle="", marker=marker, markersize=8, color=colour, label=label)
        return
    axes.plot(x, y, linestyle="", marker=marker, color=colour, alpha=0.6)
    (ring,) = axes.plot(fmean(x), fmean(y), linestyle="", marker=marker, color=colour, label=label)
    ring.set(markersize=10, markerfacecolor=CARD, markeredgewidth=2.2)


def _cross(axes: Axes, label: str, colour: str) -> None:
    """Lines that part gains from losses, and the baseline where they meet."""
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    axes.plot(0, 0, linestyle="", marker="o", markersize=8, color=colour, label=label)
    axes.margins(0.14)


def _name(axes: Axes, parts: Compared) -> None:
    metric, home = parts.subject.metric, ", ".join(parts.source)
    if not metric.higher_is_better:  # right and up are better on every page
        axes.invert_xaxis()
        axes.invert_yaxis()
    if parts.baseline is None:
        axes.set_xlabel(f"{home}: {metric.heading}")
        axes.set_ylabel(f"unseen mean: {metric.heading}")
        return
    unit = f", {metric.points}" if metric.points else ""
    axes.set_xlabel(f"change on {home}{unit}")
    axes.set_ylabel(f"change in unseen domains{unit}")
