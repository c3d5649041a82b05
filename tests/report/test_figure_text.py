"""Names from data in figures."""

import pytest

from minorkey.plotting.canvas import plain_canvas
from minorkey.plotting.style import inline_svg, save_figure

NAMES = ("title $x$", "a $\\frac$ tick", "label $x^2", "entry $_$")


@pytest.fixture
def figure():
    figure, axes = plain_canvas(4, 3)
    axes.plot([1, 2], [1e-3, 1], label=NAMES[3])
    axes.set_yscale("log")
    axes.set_title(NAMES[0])
    axes.set_xticks([1, 2], [NAMES[1], "b"])
    axes.set_xlabel(NAMES[2])
    axes.legend()
    return figure


def test_a_dollar_is_no_formula(figure):
    svg = inline_svg(figure, "names")
    for name in NAMES:
        assert f">{name}</text>" in svg
    assert ">−</tspan>" in svg  # of the powers of ten beside the axis, which are formulas


def test_an_unreadable_formula_in_a_name_is_written_to_a_file_too(figure, tmp_path):
    save_figure(figure, tmp_path / "names")
    assert NAMES[1] in (tmp_path / "names.svg").read_text()
    assert (tmp_path / "names.png").is_file()
