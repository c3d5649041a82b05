"""Pictures of a knock-out: a heat map of loss by block and domain, and bars of loss by class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minorkey.adapters.decompose import End
from minorkey.evaluation.scores import DomainRole
from minorkey.plotting.canvas import DOMAIN_COLOURS, canvas
from minorkey.plotting.style import INK, LINE
from minorkey.spectrum.knockout.rows import KnockoutRow

LOSSES = "PuOr_r"
"""Purple for a gain, white for no change, orange for a loss: apart for colour-blind readers too."""
LEAST_REACH = 0.01
"""Loss at the ends of the colour scale, at least, a point of a score in percent: what is smaller stays pale."""
ROLE_COLOURS: dict[DomainRole, str] = {"source": DOMAIN_COLOURS[0], "unseen": DOMAIN_COLOURS[4]}


def knockout_figures(rows: Sequence[KnockoutRow]) -> dict[str, Figure]:
    """Every picture, by file name."""
    ends = dict.fromkeys(row.which for row in rows)
    figures = {f"knockout_{which}": loss_figure(rows, which) for which in ends}
    return figures | ({"knockout_classes": class_figure(rows)} if rows[0].scored.per_class else {})


def loss_figure(rows: Sequence[KnockoutRow], which: End) -> Figure:
    """Heat map of the loss of score: blocks down, all of them together last; domains across."""
    shown = [row for row in rows if row.which == which]
    blocks = list(dict.fromkeys(row.block_name for row in shown))
    domains = {row.domain: row for row in shown}
    metric = shown[0].scored
    losses = np.array([[metric.amount(row.loss) for row in shown if row.block_name == name] for name in blocks])
    # Single blocks set the scale: all of them together lose far more and would bleach the rest.
    reach = max(metric.amount(LEAST_REACH), float(np.abs(losses[:-1] if len(blocks) > 1 else losses).max()))
    figure, (axes,) = canvas(1, 1, max(4.4, 2.2 + 0.78 * len(domains)), 2 + 0.32 * len(blocks))
    mesh = axes.pcolormesh(losses, cmap=LOSSES, norm=Normalize(-reach, reach), edgecolors="white", linewidth=1)
    axes.invert_yaxis()
    for place, row in enumerate(shown):
        _write_loss(axes, row, divmod(place, len(domains)), reach)
    axes.axhline(len(blocks) - 1, color=INK, linewidth=1)
    sources = sum(row.role == "source" for row in domains.values())
    if 0 < sources < len(domains):
        axes.axvline(sources, color=INK, linewidth=1)
    axes.set_yticks(np.arange(len(blocks)) + 0.5, blocks)
    axes.set_xticks(np.arange(len(domains)) + 0.5, [_domain_title(row) for row in domains.values()])
    axes.grid(visible=False)
    axes.set_ylabel("block")
    first = shown[0]
    axes.set_title(f"without the {which} {_percent(first.share)} of components", loc="left", fontsize=10)
    unit = f" ({metric.unit})" if metric.unit else ""
    axes.set_xlabel(
        f"domain, {metric.name} intact{unit}, {first.images} images each\n(in brackets: 95 % interval contains 0)"
    )
    bar = figure.colorbar(mesh, ax=axes, extend="both", aspect=16)
    bar.set_label(f"loss, {metric.of_points(metric.name)}", color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, length=0)
    return figure


def class_figure(rows: Sequence[KnockoutRow]) -> Figure:
    """Bars of the loss per class with all blocks together: source beside the mean of the unseen domains.

    Classes that no setting gains or loses are left out: as a rule the model never finds them.
    """
    shown = [row for row in rows if row.block is None]
    ends = list(dict.fromkeys(row.which for row in shown))
    known = [name for name in shown[0].class_loss if any(row.class_loss[name] is not None for row in shown)]
    names = [name for name in known if any(row.class_loss[name] for row in shown)] or known
    figure, panels = canvas(1, len(ends), 7.6, 1.5 + 0.34 * len(names))
    for axes, which in zip(panels, ends, strict=True):
        _draw_classes(axes, [row for row in shown if row.which == which], names)
        axes.set_title(f"{which} {_percent(shown[0].share)} of all blocks removed", loc="left", fontsize=10)
        metric = shown[0].scored
        axes.set_xlabel(f"loss, {metric.of_points(metric.class_name or metric.name)}")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, labelcolor=INK)
    return figure


def _draw_classes(axes: Axes, rows: Sequence[KnockoutRow], names: Sequence[str]) -> None:
    by_role = {role: [row for row in rows if row.role == role] for role in ROLE_COLOURS}
    present = {role: own for role, own in by_role.items() if own}
    height = 0.8 / len(present)
    for number, (role, own) in enumerate(present.items()):
        losses = [mean_class_loss(own, name) for name in names]
        label = f"{role}, mean of {len(own)} domains" if len(own) > 1 else f"{role}: {own[0].domain}"
        places = np.arange(len(names)) - 0.4 + height * (number + 0.5)
        axes.barh(places, losses, height=0.9 * height, color=ROLE_COLOURS[role], label=label)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.margins(y=0.01)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=LINE, linewidth=0.8)


def mean_class_loss(rows: Sequence[KnockoutRow], name: str) -> float:
    """Mean over the domains that have the class, in the unit of the metric; NaN, which draws no bar, where none has."""
    losses = [loss for row in rows if (loss := row.class_loss[name]) is not None]
    return rows[0].scored.amount(sum(losses) / len(losses)) if losses else float("nan")


def _write_loss(axes: Axes, row: KnockoutRow, place: tuple[int, int], reach: float) -> None:
    text = row.scored.number(row.loss)
    text = text.removeprefix("-") if float(text) == 0 else text
    certain = row.low > 0 or row.high < 0
    dark = not -0.5 * reach < row.scored.amount(row.loss) < 0.7 * reach  # purple darkens sooner than orange
    colour = "white" if dark else "black"
    line, column = place
    axes.text(
        column + 0.5, line + 0.5, text if certain else f"({text})", ha="center", va="center", fontsize=8, color=colour
    )


def _domain_title(row: KnockoutRow) -> str:
    return f"{row.domain}\n{'source, ' if row.role == 'source' else ''}{row.scored.number(row.intact)}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
