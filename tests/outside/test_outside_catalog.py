"""A name of ours, one from outside, or the closest name."""

import sys

import pytest
from pydantic import BaseModel, field_validator

from minorkey.catalog import Catalog
from minorkey.errors import ConfigError, OutsideError

SHAPES: Catalog[type] = Catalog(
    "shape",
    {"number": int, "when": "datetime:date"},
    "a class",
    lambda part: isinstance(part, type),
    aliases={"integer": "number"},
)


class Options(BaseModel):
    shape: str

    @field_validator("shape")
    @classmethod
    def _known(cls, name: str) -> str:
        return SHAPES.checked(name)


def test_names_of_ours():
    import datetime

    assert SHAPES.resolve("number") is int
    assert SHAPES.resolve("when") is datetime.date
    assert SHAPES.resolve("integer") is int
    assert Options(shape="integer").shape == "number"


def test_a_shipped_part_is_imported_when_it_is_asked_for(write_module):
    write_module("lazy", "class Part: pass")
    catalog = Catalog("part", {"lazy": "mine.lazy:Part"}, "a class", callable)
    assert catalog.canonical("lazy") == "lazy"
    assert "mine.lazy" not in sys.modules
    assert catalog.resolve("lazy").__name__ == "Part"


def test_a_part_from_outside(write_module):
    write_module("shapes", "class Star: pass")
    assert SHAPES.resolve("mine.shapes:Star") is sys.modules["mine.shapes"].Star
    assert Options(shape="mine.shapes:Star").shape == "mine.shapes:Star"


def test_the_closest_name():
    with pytest.raises(ConfigError) as error:
        SHAPES.resolve("nubmer")
    assert str(error.value) == (
        "unknown shape 'nubmer'; did you mean 'number'? Known: integer, number, when, "
        "or your own as package.module:attribute"
    )


@pytest.mark.parametrize("name", ["mine", "mine.shapes", "mine.shapes:", ":Star", "mine shapes:Star", "a/b:c", "1a:b"])
def test_what_is_no_name_from_outside(name):
    assert not SHAPES.knows(name)
    with pytest.raises(ConfigError, match="unknown shape"):
        SHAPES.resolve(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.at_all:X", "shape 'nowhere.at_all:X': No module named 'nowhere'; install it, or put its folder on "),
        ("mine.good:Strat", "cannot be imported: ImportError: module 'mine.good' has no 'Strat'; did you mean 'Star'?"),
        ("mine.good:five", "shape 'mine.good:five' is of type int; expected a class (docs/extending.md)"),
        ("mine.raises:X", "shape 'mine.raises:X' failed: ValueError: on import (raises.py, line 2); --debug shows"),
        ("mine.broken:X", "shape 'mine.broken:X' cannot be imported: SyntaxError: "),
        ("mine.needs:X", "shape 'mine.needs:X': No module named 'not_installed'; install it"),
    ],
)
def test_what_is_wrong_with_a_part_is_one_line(write_module, name, message):
    write_module("good", "class Star: pass\nfive = 5")
    write_module("raises", "\nraise ValueError('on import\\nand more')")
    write_module("broken", "def")
    write_module("needs", "import not_installed")
    with pytest.raises(OutsideError) as error:
        SHAPES.resolve(name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is not None or "is of type int" in message
