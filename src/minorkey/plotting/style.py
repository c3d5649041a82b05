"""Colours that pages and figures share, and figures written as files or into a page."""

import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#20262e"
LINE = "#d5dae1"
CARD = "#fefefe"
METHOD_COLOURS = {
    "soma": "#e4572e",
    "lora": "#2b83ba",
    "full": "#8e5bb5",
    "frozen": "#7b8794",
    "pissa": "#2f9e6e",
}
SPARE_COLOURS = ("#c9981a", "#17a2a2", "#d6598f", "#5b6ee1", "#8a6d3b", "#6aa121")
MARKERS = "oDs^vPX*"


def css(colour: Sequence[int]) -> str:
    """An RGB colour as style sheets write it.

    >>> css((228, 87, 46))
    '#e4572e'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


def save_figure(figure: "Figure", stem: Path) -> None:
    """Write `stem.svg` and `stem.png`."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".svg").write_text(_svg(figure, stem.name), encoding="utf-8")
    figure.savefig(stem.with_suffix(".png"), dpi=160, facecolor="white", metadata={"Software": "minorkey"})


def inline_svg(figure: "Figure", name: str) -> str:
    """The figure as an SVG element that takes ink, lines and typeface from the page around it."""
    svg = _svg(figure, name)
    svg = (
        svg[svg.index("<svg") :].replace(INK, "currentColor").replace(LINE, "var(--line)").replace(CARD, "var(--card)")
    )
    svg = re.sub(r"(<svg[^>]*?) width=\"[^\"]*\"", r"\1", svg, count=1)
    svg = re.sub(r"(<svg[^>]*?) height=\"[^\"]*\"", r"\1", svg, count=1)
    return svg.replace("'DejaVu Sans'", "system-ui")


def _svg(figure: "Figure", name: str) -> str:
    import matplotlib  # here, so that colours can be had where nothing is drawn

    buffer = StringIO()
    # a salt of its own per figure keeps ids apart on one page, and the file the same on every build
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": "minorkey"})
    return buffer.getvalue()
