"""Label spaces: the classes a model tells apart, and how the ids of a data set become its train ids."""

import colorsys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from minorkey.errors import ConfigError, unknown
from minorkey.labels.tables import parse_row, read_yaml
from minorkey.system.unforeseen import public

SPACES_FILE = Path(__file__).with_name("spaces.yaml")

IGNORE_INDEX = 255
"""Label of the pixels that count neither in a loss nor in a score."""

Channel = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]


class ClassRow(BaseModel):
    """One class of a label space as a table holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    colour: Colour
    accepts: list[str] = []


class SpaceRow(BaseModel):
    """A label space as a table holds it; the order of the classes is their train id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: dict[str, ClassRow] = Field(min_length=1, max_length=IGNORE_INDEX)
    ignores: list[str] = []


@dataclass(frozen=True, eq=False)
class LabelSpace:
    """K named and coloured classes; the train id of a class is its place, 0 first."""

    name: str
    classes: tuple[str, ...]
    colours: np.ndarray  # (K, 3) uint8, RGB
    train_ids: Mapping[str, int] = field(repr=False)  # source class name -> train id or IGNORE_INDEX

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def id_map(
        self, ids: Mapping[int, str], ignores: Sequence[str] = (), read_as: Mapping[str, str] | None = None
    ) -> np.ndarray:
        """The lookup table from the ids of a data set to train ids.

        Args:
            ids: id in the label files (0 to 255) -> class name.
            ignores: further class names that become `IGNORE_INDEX`.
            read_as: class name -> the class it counts as in a space that does not have it.

        Returns:
            (256,) int16: a train id, `IGNORE_INDEX`, or -1 for the ids that no map names.

        Raises:
            ConfigError: the space neither accepts nor ignores a class, or an id is out of range.
        """
        places = self.places(ids.values(), ignores, read_as)
        lookup = np.full(256, -1, np.int16)
        for number, name in ids.items():
            if not 0 <= number <= 255:
                raise ConfigError(f"id {number} of class '{name}' is out of range: ids go from 0 to 255")
            lookup[number] = places[name]
        return lookup

    def places(
        self, names: Iterable[str], ignores: Iterable[str] = (), read_as: Mapping[str, str] | None = None
    ) -> dict[str, int]:
        """The train id of each class of a data set, `IGNORE_INDEX` where it is left out.

        Args:
            names: its classes.
            ignores: further class names that become `IGNORE_INDEX`.
            read_as: class name -> the class it counts as in a space that does not have it.

        Raises:
            ConfigError: the space neither accepts nor ignores a class.
        """
        ignored = {plain_name(name) for name in ignores}
        other = {plain_name(name): plain_name(target) for name, target in (read_as or {}).items()}
        found = {
            name: IGNORE_INDEX if plain_name(name) in ignored else self._place(plain_name(name), other)
            for name in names
        }
        if foreign := {name for name, place in found.items() if place is None}:
            raise ConfigError(
                f"label space '{self.name}' has no place for {_listed(foreign)}: "
                "choose a label space that accepts them, or list them under `ignores` in dataset.yaml"
            )
        return {name: place for name, place in found.items() if place is not None}

    def own(self, name: str) -> int | None:
        """The train id of a class that it has itself, under this name or one that it accepts; None if it has not."""
        train_id = self.train_ids.get(plain_name(name), IGNORE_INDEX)
        return None if train_id == IGNORE_INDEX else train_id

    def _place(self, name: str, other: Mapping[str, str]) -> int | None:
        """Train id of a plain class name: its own class, else the one it is read as, else ignored, else none."""
        own = self.own(name)
        return self.train_ids.get(other.get(name, name), self.train_ids.get(name)) if own is None else own


@public
def label_space(name: str) -> LabelSpace:
    """The label space called `name`, the one in the YAML file at that path, or that of classes listed with commas.

    >>> label_space("cat, dog").classes
    ('cat', 'dog')

    Raises:
        ConfigError: no such space (closest name offered), or the file is wrong.
    """
    if name.endswith((".yaml", ".yml")):
        file = Path(name)
        return _build(file.stem, parse_row(SpaceRow, read_yaml(file), str(file)))
    if "," in name:
        return _listed_space(name)
    table = _table()
    if name not in table:
        raise ConfigError(unknown("label space", name, table))
    return table[name]


def label_spaces() -> list[str]:
    """Names of the shipped label spaces, in the order of their file."""
    return list(_table())


def colourise(labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Train ids (H, W) as an RGB picture (H, W, 3) uint8; ignored pixels are black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(space)] = space.colours
    return palette[labels]


@cache
def _table() -> dict[str, LabelSpace]:
    content = read_yaml(SPACES_FILE)
    assert isinstance(content, dict)
    return {name: _build(name, parse_row(SpaceRow, row, name)) for name, row in content.items()}


def _build(name: str, row: SpaceRow) -> LabelSpace:
    train_ids: dict[str, int] = {}
    claims = [(plain_name(ignored), IGNORE_INDEX) for ignored in ("ignore", *row.ignores)]
    for train_id, (own, entry) in enumerate(row.classes.items()):
        claims += [(plain_name(source), train_id) for source in (own, *entry.accepts)]
    for source, train_id in claims:
        if train_ids.setdefault(source, train_id) != train_id:
            raise ConfigError(f"label space '{name}' gives '{source}' two places: keep one of them")
    colours = np.array([entry.colour for entry in row.classes.values()], np.uint8)
    return LabelSpace(name, tuple(row.classes), colours, train_ids)


def plain_name(name: str) -> str:
    """A class name as names are compared: in lower case, `_` as a blank, no blanks around it, one form of Unicode.

    >>> plain_name("Traffic_light ")
    'traffic light'
    """
    return unicodedata.normalize("NFC", " ".join(name.lower().replace("_", " ").split()))


def _listed_space(text: str) -> LabelSpace:
    """The classes of a list with commas, each in a colour of its own."""
    classes = tuple(filter(None, map(str.strip, text.split(","))))
    train_ids = {plain_name(name): train_id for train_id, name in enumerate(classes)}
    if len(train_ids) < len(classes):
        raise ConfigError(f"label_space '{text}' names a class twice; name each once")
    # Hues a golden section apart never come close to one another, however many there are.
    hues = [colorsys.hsv_to_rgb(0.618034 * train_id % 1, 0.65, 0.9) for train_id in range(len(classes))]
    return LabelSpace(text, classes, np.rint(255 * np.array(hues)).astype(np.uint8), train_ids)


def _listed(names: set[str]) -> str:
    first, more = sorted(names)[:5], len(names) - 5
    return ", ".join(map(repr, first)) + (f" and {more} more" if more > 0 else "")
