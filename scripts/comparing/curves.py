"""The figure of the rates: what each way reaches on the source at each."""

from collections.abc import Sequence

from comparing.outcome import Outcome
from comparing.tables import ways_of
from matplotlib.figure import Figure

from minorkey.plotting.canvas import canvas
from minorkey.plotting.style import METHOD_COLOURS, SPARE_COLOURS

DEPTH = 15.0
"""Points below the best that are shown; a rate that diverged scores 0."""


def curves(outcomes: Sequence[Outcome]) -> Figure:
    """A plot per setting: score on validation images of the source over the rate, a line per way."""
    figure, axes = canvas(1, len(outcomes), 3.1 * len(outcomes) + 1.6, 2.8, share=False)
    ways, spare = ways_of(outcomes), iter(SPARE_COLOURS)
    colours = {way: METHOD_COLOURS.get(way) or next(spare) for way in ways}
    for outcome, plot in zip(outcomes, axes, strict=True):
        for way, curve in outcome.tried.items():
            plot.plot(list(curve), list(curve.values()), color=colours[way], marker=".", label=way)
            chosen = [rate for rate in curve if rate == outcome.rates.get(way)]
            plot.plot(chosen, [curve[rate] for rate in chosen], "o", color=colours[way], markersize=7)
        best = max((max(curve.values()) for curve in outcome.tried.values()), default=100.0)
        lowest = min((min(curve.values()) for curve in outcome.tried.values()), default=0.0)
        plot.set_ylim(max(best - DEPTH, lowest - 0.5), best + 0.5)
        plot.set_xscale("log")
        plot.set_title(outcome.title, fontsize="medium")
        plot.set_xlabel("learning rate")
    axes[0].set_ylabel("source validation, %")
    lines = {str(line.get_label()): line for plot in axes for line in plot.get_lines() if line.get_label() in ways}
    figure.legend(list(lines.values()), list(lines), loc="outside right upper", frameon=False)
    return figure
