"""Legends: what the ids, or the colours, in the label files of a data set stand for."""

from functools import cache
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from minorkey.errors import ConfigError, unknown
from minorkey.labels.space import LabelSpace, distinct, plain_name
from minorkey.labels.tables import Numbered, one_target, parse_row, shipped_yaml
from minorkey.labels.written import Colour

VOID = frozenset({"ignore", "ignored", "unlabeled", "unlabelled", "void"})
"""Names of what label images hold where there is no class."""

LEGENDS_FILE = Path(__file__).with_name("legends.yaml")


class Legend(BaseModel):
    """The classes of label files under their own names, and what a label space without them reads them as."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: Numbered = {}  # id in the label files -> class name
    colours: dict[str, Colour] = Field(default={}, max_length=256)  # class name -> RGB, for painted label files
    read_as: dict[str, list[str]] = {}  # class name or `ignore` -> the classes that count as it where not known
    ignores: list[str] = []  # class names that are left out of training and scores

    @model_validator(mode="after")
    def _one_map(self) -> "Legend":
        if bool(self.ids) == bool(self.colours):
            raise ValueError("give either `ids` (id: class name) or `colours` (class name: [r, g, b])")
        names: dict[Colour, str] = {}
        for name, colour in self.colours.items():
            if (other := names.setdefault(colour, name)) != name:
                raise ValueError(f"classes '{other}' and '{name}' have one colour, {list(colour)}; keep one of them")
        return self

    @field_validator("read_as")
    @classmethod
    def _one_target(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        return one_target(value)

    @property
    def classes(self) -> dict[int, str]:
        """Id -> class name; the id of a colour is its place."""
        return self.ids or dict(enumerate(self.colours))

    @property
    def own(self) -> tuple[str, ...]:
        """The classes that a label space of this legend alone has, as they are listed: those that are not left out."""
        return distinct(self.classes.values(), [*VOID, *self.ignores, *self.read_as.get("ignore", [])])

    @property
    def palette(self) -> np.ndarray | None:
        """(N, 3) uint8 RGB of the classes, None where label files hold ids."""
        return np.array(list(self.colours.values()), np.uint8) if self.colours else None

    def lookup(self, space: LabelSpace) -> np.ndarray:
        """The table from ids to train ids: see `LabelSpace.id_map`.

        Raises:
            ConfigError: the space neither accepts nor ignores a class.
        """
        read_as = {name: target for target, names in self.read_as.items() for name in names}
        void = [name for name in self.classes.values() if plain_name(name) in VOID and name not in read_as]
        return space.id_map(self.classes, [*self.ignores, *(name for name in void if space.own(name) is None)], read_as)


def legend(name: str) -> Legend:
    """The shipped legend called `name`.

    Raises:
        ConfigError: there is none; the closest name is offered.
    """
    table = _table()
    if name not in table:
        raise ConfigError(unknown("legend", name, table))
    return table[name]


@cache
def _table() -> dict[str, Legend]:
    content = shipped_yaml(LEGENDS_FILE)
    return {name: parse_row(Legend, row, name) for name, row in content.items()}
