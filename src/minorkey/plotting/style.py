"""Colours that pages and figures share, and figures written as files or into a page."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from minorkey.errors import printable
from minorkey.system.storage import write_atomically, write_text

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

_FILES: "WeakKeyDictionary[Figure, dict[str, str]]" = WeakKeyDictionary()
"""Figures that were drawn -> by name, what is in their files."""


def css(colour: Sequence[int]) -> str:
    """An RGB colour as style sheets write it.

    >>> css((228, 87, 46))
    '#e4572e'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


def save_figure(figure: "Figure", stem: Path) -> None:
    """Write `stem.svg` and `stem.png`, with a mark that we did (`system.ours`).

    Raises:
        StorageError: they cannot be written.
    """
    write_text(stem.with_suffix(".svg"), _svg(figure, stem.name))
    look: dict[str, Any] = {"format": "png", "dpi": 160, "facecolor": "white", "metadata": {"Software": "minorkey"}}
    with _any_letters():
        _lay_out(figure)
        write_atomically(stem.with_suffix(".png"), lambda temporary: figure.savefig(temporary, **look))


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
    """The figure, which is finished, as a file; kept, for a page shows what lies beside it."""
    kept = _FILES.setdefault(figure, {})
    if name not in kept:
        kept[name] = _drawn(figure, name)
    return kept[name]


def _drawn(figure: "Figure", name: str) -> str:
    import matplotlib  # here, so that colours can be had where nothing is drawn

    buffer = StringIO()
    # a salt of its own per figure keeps ids apart on one page, and the file the same on every build
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), _any_letters():
        _lay_out(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": "minorkey"})
    return "\n".join(map(printable, buffer.getvalue().split("\n")))  # XML takes no control characters


def _lay_out(figure: "Figure") -> None:
    """Give all parts their places, once: what writes a file would do it, and draw all of it, again for each."""
    if (engine := figure.get_layout_engine()) is not None:
        _as_written(figure)
        engine.execute(figure)
        figure.set_layout_engine(None)


def _as_written(figure: "Figure") -> None:
    """Show a `$` in a name from data as it is; matplotlib's own formulas are those of the ticks of logarithmic axes."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if "$" in text.get_text() and "\\mathdefault" not in text.get_text():
            text.set_parse_math(False)


@contextmanager
def _any_letters() -> Iterator[None]:
    """Without a warning for each letter of a name from data that matplotlib's typeface does not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield
