"""Names from data as parts of paths."""

from pathlib import Path

import pytest

from minorkey.errors import ConfigError, printable
from minorkey.system.names import LONGEST, below, leads_out

HOSTILE = [
    "..",
    "../x",
    "/etc/x",
    "a/../../x",
    "a//x",
    "",
    ".",
    "a\\..\\x",
    "C:x",
    "C:/x",
    "a\0b",
    "a\x1b[31m\nb",
    "x" * 5000,
    "é" * 200,
    "/".join(["ab"] * 2000),
    "\udc80",
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name[:12]))
def test_every_name_is_a_file_below_the_folder(name, tmp_path):
    file = below(tmp_path, "domain", f"{name}.png") if name else below(tmp_path, "domain", name)
    assert file.resolve().is_relative_to(tmp_path.resolve() / "domain")
    assert file != tmp_path / "domain"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("written")
    assert len(str(file.relative_to(tmp_path)).encode()) < 1.5 * LONGEST


def test_safe_names_stay_as_they_are():
    for name in ("fog", "acdc-night+fog@3", "train/aachen_000000", "a b", "Straße", "..hidden", "world:x"):
        assert str(below(Path("out"), name)) == f"out/{name}"


def test_changed_names_stay_apart():
    assert len({below(Path(), name) for name in ("..", "_", "", ".", "...", "a\\b", "a_b", "a\nb", "a\tb")}) == 9


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "..", "a\\..\\x", "\\\\host\\x", "C:\\x", "a\0"])
def test_what_leads_out(name):
    assert leads_out(name)


@pytest.mark.parametrize("name", ["", "a/b.png", "a..b/..c", "images/*/{key}.*", "1:30.png"])
def test_what_does_not(name):
    assert not leads_out(name)


def test_an_error_is_one_line_that_does_nothing_to_a_terminal():
    error = ConfigError("class 'a\x1b]0;title\x07\x9b31m\nb\u202ec' is 'ü'")
    assert str(error) == r"class 'a\x1b]0;title\x07\x9b31m\nb\u202ec' is 'ü'"
    assert printable("\ud800") == r"\ud800"
