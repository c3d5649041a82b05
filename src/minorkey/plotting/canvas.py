"""Styled canvases, drawn on with matplotlib's object API: no window, no global state."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from minorkey.plotting.style import INK, LINE

MAJOR, MINOR, REFERENCE = "#2b83ba", "#e4572e", "#7b8794"
DOMAIN_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b")
"""For unseen domains; told apart by colour-blind readers too (after Okabe & Ito)."""


def canvas(rows: int, columns: int, width: float, height: float, *, share: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure, inches wide and high, and its axes row by row; by default they share both scales."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)
    axes: list[Axes] = list(np.ravel(grid))
    for each in axes:
        each.spines[["top", "right", "left"]].set_visible(False)
        each.spines["bottom"].set_color(LINE)
        each.tick_params(colors=INK, length=0, which="both")
        each.set_axisbelow(True)
        each.grid(axis="y", color=LINE, linewidth=0.8)
        for text in (each.title, each.xaxis.label, each.yaxis.label):
            text.set_color(INK)
    return figure, axes


def plain_canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure, inches wide and high, and its only axes, without a grid."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.tick_params(colors=INK, length=0)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.set_axisbelow(True)
    axes.grid(color=LINE, linewidth=0.8)
    axes.grid(visible=False)
    return figure, axes


def block_axis(axes: Axes) -> None:
    """Label the horizontal axis as block numbers."""
    axes.set_xlabel("block")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
