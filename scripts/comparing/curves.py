"""The figure of the rates: what each way reaches on the source at each."""

from collections.abc import Sequence

from comparing.outcome import Outcome
from comparing.ways import WAYS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from minorkey.plotting.canvas import canvas
from minorkey.plotting.style import METHOD_COLOURS, SPARE_COLOURS

DEPTH = 15.0
"""Points below the best that are shown; a rate that diverged scores 0."""


def curves(outcomes: Sequence[Outcome]) -> Figure:
    """A plot per setting: score on validation images of the source over the rate, a line per way.

    Below, where runs have shown it: the mean over unseen domains at the same rates, which chose none.
    """
    ways, spare = [way for way in WAYS if any(way in outcome.tried for outcome in outcomes)], iter(SPARE_COLOURS)
    colours = {way: METHOD_COLOURS.get(way) or next(spare) for way in ways}
    rows = [("source validation, %", [outcome.tried for outcome in outcomes])]
    if any(curve for outcome in outcomes for curve in outcome.unseen_at.values()):
        rows.append(("unseen domains, %", [outcome.unseen_at for outcome in outcomes]))
    figure, axes = canvas(len(rows), len(outcomes), 3.1 * len(outcomes) + 1.6, 2.7 * len(rows), share=False)
    lines: dict[str, Line2D] = {}
    for place, (plot, scores) in enumerate(zip(axes, (each for _, row in rows for each in row), strict=True)):
        outcome = outcomes[place % len(outcomes)]
        for way, curve in scores.items():
            lines[way] = plot.plot(list(curve), list(curve.values()), color=colours[way], marker=".")[0]
            chosen = [rate for rate in curve if rate == outcome.rates.get(way)]
            plot.plot(chosen, [curve[rate] for rate in chosen], "o", color=colours[way], markersize=7)
        _frame(plot, [value for curve in scores.values() for value in curve.values()])
        if place < len(outcomes):
            plot.set_title(outcome.title, fontsize="medium")
        if place % len(outcomes) == 0:
            plot.set_ylabel(rows[place // len(outcomes)][0])
    named = [way for way in ways if way in lines]
    figure.legend([lines[way] for way in named], named, loc="outside right upper", frameon=False)
    return figure


def _frame(plot: Axes, values: Sequence[float]) -> None:
    """Rates in powers of ten; of the scores no more than `DEPTH` below the best."""
    best, lowest = max(values, default=100.0), min(values, default=0.0)
    plot.set_ylim(max(best - DEPTH, lowest - 0.5), best + 0.5)
    plot.set_xscale("log")
    plot.set_xlabel("learning rate")
