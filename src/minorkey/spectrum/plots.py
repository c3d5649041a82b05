"""The pictures of a spectrum."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from minorkey.plotting.canvas import DOMAIN_COLOURS, MAJOR, MINOR, REFERENCE, block_axis, canvas
from minorkey.plotting.style import INK, MARKERS
from minorkey.spectrum.rows import DriftRow, Spectrum, UpdateRow, WeightRow
from minorkey.spectrum.summary import by_block, by_block_and_role, drift_by_domain, hundredths, ranks_of, roles_of

FIGURES = ("singular-values", "minor-share", "update", "drift")
CURVE_POINTS = 96
"""Points kept of a curve of singular values; the pages stay small."""
NUMBERED_BLOCKS = 14
"""Up to so many blocks, the cells of the heat map are wide enough for numbers."""
BLOCK_COLOURS, BRIGHTEST = "viridis", 0.92
"""Early blocks dark, late ones bright; the brightest yellow is lost on white."""


def spectrum_figures(spectrum: Spectrum) -> dict[str, Figure]:
    """Every picture there is something to draw for, by file name."""
    figures = {
        "singular-values": singular_value_figure(spectrum.weights),
        "minor-share": minor_share_figure(spectrum.weights),
    }
    if any(row.changed for row in spectrum.update):
        figures["update"] = update_figure(spectrum.update)
    if spectrum.drift:
        figures["drift"] = drift_figure(spectrum.drift)
    return figures


def singular_value_figure(rows: Sequence[WeightRow]) -> Figure:
    """Singular values over their place in the order, a panel per role and a curve per block.

    A dot marks where the minor components begin.
    """
    roles = roles_of(rows)
    columns = min(3, len(roles))
    lines = -(-len(roles) // columns)
    figure, axes = canvas(lines, columns, 7.6, 0.8 + 2.1 * lines)
    blocks = Normalize(0, max(1, *(row.block for row in rows)))
    colours = matplotlib.colormaps[BLOCK_COLOURS]
    for panel, role in zip(axes, roles, strict=False):
        panel.set_title(role, fontsize=10, loc="left", color=INK)
        for row in rows:
            if row.role == role:
                _draw_curve(panel, row, colours(BRIGHTEST * float(blocks(row.block))))
        panel.set_yscale("log")
    for empty in axes[len(roles) :]:
        empty.set_visible(False)
    for panel in axes[max(0, len(roles) - columns) : len(roles)]:
        panel.set_xlabel("component, largest first")
        panel.xaxis.set_tick_params(labelbottom=True)
    for panel in axes[::columns]:
        panel.set_ylabel("singular value")
    _block_bar(figure, axes, blocks)
    dot = Line2D([], [], color=INK, marker="o", markersize=3, linestyle="", label=f"the minor {ranks_of(rows)} begin")
    figure.legend(handles=[dot], loc="outside upper left", frameon=False, labelcolor=INK)
    return figure


def _draw_curve(panel: Axes, row: WeightRow, colour: tuple) -> None:
    count = len(row.singular_values)
    places = np.unique(np.linspace(0, count - 1, CURVE_POINTS).round().astype(int))
    values = np.array(row.singular_values)
    panel.plot(places + 1, values[places], color=colour, linewidth=1.1)
    first = count - row.rank
    panel.plot(first + 1, values[first], marker="o", markersize=3, color=colour)


def minor_share_figure(rows: Sequence[WeightRow]) -> Figure:
    """Heat map, block x role: the share of energy in the minor components."""
    roles, cells = roles_of(rows), by_block_and_role(rows, lambda row: 100 * row.minor_share)
    shares = np.array([[cells[block].get(role, np.nan) for block in cells] for role in roles])
    figure, (axes,) = canvas(1, 1, min(7.6, 2.2 + 0.55 * len(cells)), 1.4 + 0.38 * len(roles))
    scale = LogNorm() if np.nanmin(shares) > 0 else None
    mesh = axes.pcolormesh(np.ma.masked_invalid(shares), cmap="cividis", norm=scale, edgecolors="white", linewidth=1)
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(roles)) + 0.5, roles)
    step = 1 + len(cells) // 16
    axes.set_xticks(np.arange(len(cells))[::step] + 0.5, [str(block) for block in cells][::step])
    axes.set_xlabel("block")
    axes.grid(visible=False)
    if len(cells) <= NUMBERED_BLOCKS:
        _write_cells(axes, shares, mesh)
    bar = figure.colorbar(mesh, ax=axes, label=f"energy in the minor {ranks_of(rows)}, %", aspect=12, format="%g")
    _plain(bar)
    return figure


def _write_cells(axes: Axes, percents: np.ndarray, mesh: QuadMesh) -> None:
    bright = np.asarray(mesh.norm(percents)) > 0.5
    for (line, column), value in np.ndenumerate(percents):
        if np.isfinite(value):
            style: dict[str, Any] = {"color": "black" if bright[line, column] else "white", "fontsize": 8}
            axes.text(column + 0.5, line + 0.5, hundredths(value / 100), ha="center", va="center", **style)


def update_figure(update: Sequence[UpdateRow]) -> Figure:
    """Per block, the update's energy in the major and in the minor subspace, beside that of a random update."""
    pooled = {block: each for block, each in by_block(update).items() if each.changed}
    figure, axes = canvas(1, 2, 7.6, 3.1)
    for panel, side, title in zip(axes, ("both", "either"), ("on both sides", "on at least one side"), strict=True):
        for name, colour, marker in (("major", MAJOR, "s"), ("minor", MINOR, "o"), ("random", REFERENCE, "")):
            shares = [100 * getattr(getattr(each, name), side) for each in pooled.values()]
            label = f"{name} {ranks_of(update)}" if marker else "a random update"
            line = "-" if marker else "--"
            panel.plot(list(pooled), shares, line, color=colour, marker=marker, markersize=5, label=label)
        panel.set_title(title, fontsize=10, loc="left", color=INK)
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        block_axis(panel)
    axes[0].set_ylabel("share of the update's energy, %")
    _legend(figure, axes[0])
    return figure


def drift_figure(drift: Sequence[DriftRow]) -> Figure:
    """Per block, how far its output moved: relative change and angle, a line per domain."""
    figure, axes = canvas(1, 2, 7.6, 3.3, share=False)
    colours = iter(DOMAIN_COLOURS * len(drift))
    for number, (domain, rows) in enumerate(drift_by_domain(drift).items()):
        source = rows[0].role == "source"
        style: dict[str, Any] = {
            "color": INK if source else next(colours),
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": "--" if source else "-",
            "label": f"{domain} (source)" if source else domain,
        }
        blocks = [row.block for row in rows]
        axes[0].plot(blocks, [100 * row.change for row in rows], markersize=4, linewidth=1.3, **style)
        axes[1].plot(blocks, [row.angle for row in rows], markersize=4, linewidth=1.3, **style)
    axes[0].set_ylabel("relative change of tokens, %")
    axes[1].set_ylabel("1 − cosine of tokens")
    for panel in axes:
        panel.set_ylim(bottom=0)
        block_axis(panel)
    _legend(figure, axes[0])
    return figure


def _block_bar(figure: Figure, axes: Sequence[Axes], blocks: Normalize) -> None:
    trimmed = ListedColormap(matplotlib.colormaps[BLOCK_COLOURS](np.linspace(0, BRIGHTEST, 128)))
    bar = figure.colorbar(ScalarMappable(blocks, trimmed), ax=list(axes), label="block", aspect=30)
    bar.locator = MaxNLocator(integer=True)
    bar.update_ticks()
    _plain(bar)


def _plain(bar: Colorbar) -> None:
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, length=0, which="both")
    bar.ax.yaxis.label.set_color(INK)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)), frameon=False, labelcolor=INK)
