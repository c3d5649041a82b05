"""Label spaces: the classes a model tells apart, and how the ids of a data set become its train ids."""

import colorsys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minorkey.errors import ConfigError, unknown
from minorkey.labels.tables import read_yaml, shipped_yaml
from minorkey.labels.written import Colour, SpaceRow, checked_names, listed_text, names_in, space_row
from minorkey.system.unforeseen import public

SPACES_FILE = Path(__file__).with_name("spaces.yaml")

IGNORE_INDEX = 255
"""Label of the pixels that count neither in a loss nor in a score."""


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
            ConfigError: the space neither accepts nor ignores a class, it has more than 255, or an id is out of range.
        """
        if len(self) > IGNORE_INDEX:
            raise ConfigError(f"label space '{self.name[:60]}' has {len(self)} classes; label images hold at most 255")
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
def label_space(name: str | list[str] | Mapping[str, Any] | SpaceRow) -> LabelSpace:
    """A label space by its name, or by any other way to write it.

    Args:
        name: that of a shipped one, the path of a YAML file, classes in a list or with commas, or a mapping:
            class -> its RGB or None, or what such a file holds, see docs/label-spaces.md.

    >>> label_space(["cat", "dog"]).classes, label_space("cat, dog").name
    (('cat', 'dog'), 'cat, dog')

    Raises:
        ConfigError: no such space (closest name offered), or what is written is wrong.
    """
    kept = held(name if isinstance(name, (str, SpaceRow)) else given_space(name))
    if isinstance(kept, SpaceRow):
        return _build(kept.name or "", kept)
    return _listed_space(kept) if "," in kept else _shipped(kept)


def given_space(written: list[str] | Mapping[str, Any]) -> str | SpaceRow:
    """A list as text, a mapping as the table that it stands for.

    Raises:
        ConfigError: it is wrong.
    """
    if not isinstance(written, list):
        return space_row(written, "label_space")
    try:
        return listed_text(checked_names(written))
    except ValueError as error:
        raise ConfigError(f"label_space: {error}") from error


def held(written: str | SpaceRow) -> str | SpaceRow:
    """A label space so that it needs no file: what a YAML file holds, or itself; of tables, with their name.

    Raises:
        ConfigError: the file is wrong.
    """
    if isinstance(written, SpaceRow):
        return written if written.name else written.model_copy(update={"name": listed_text(list(written.classes))})
    if written.endswith((".yaml", ".yml")):
        row = space_row(read_yaml(Path(written)), written)
        return row if row.name else row.model_copy(update={"name": Path(written).stem})
    return listed_text(names_in(written)) if "," in written else written


def shipped_like(classes: Sequence[str]) -> str | None:
    """The shipped label space that has just these classes, in this order; None: there is none."""
    return next((name for name, space in _table().items() if space.classes == tuple(classes)), None)


def label_spaces() -> list[str]:
    """Names of the shipped label spaces, in the order of their file."""
    return list(_table())


def colourise(labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Train ids (H, W) as an RGB picture (H, W, 3) uint8; ignored pixels are black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(space)] = space.colours
    return palette[labels]


def _shipped(name: str) -> LabelSpace:
    table = _table()
    if name not in table:
        raise ConfigError(
            unknown("label space", name, table) + ", a list such as 'cat, dog', or a file that ends in .yaml"
        )
    return table[name]


@cache
def _table() -> dict[str, LabelSpace]:
    content = shipped_yaml(SPACES_FILE)
    return {name: _build(name, space_row(row, name)) for name, row in content.items()}


def _build(name: str, row: SpaceRow) -> LabelSpace:
    train_ids: dict[str, int] = {}
    claims = [(plain_name(ignored), IGNORE_INDEX) for ignored in ("ignore", *row.ignores)]
    for train_id, (own, entry) in enumerate(row.classes.items()):
        claims += [(plain_name(source), train_id) for source in (own, *entry.accepts)]
    for source, train_id in claims:
        if train_ids.setdefault(source, train_id) != train_id:
            raise ConfigError(f"label space '{name}' gives '{source}' two places: keep one of them")
    return LabelSpace(name, tuple(row.classes), _colours([entry.colour for entry in row.classes.values()]), train_ids)


def plain_name(name: str) -> str:
    """A class name as names are compared: in lower case, `_` as a blank, no blanks around it, one form of Unicode.

    >>> plain_name("Traffic_light ")
    'traffic light'
    """
    return unicodedata.normalize("NFC", " ".join(name.lower().replace("_", " ").split()))


def distinct(names: Iterable[str], left_out: Iterable[str] = ("ignore",)) -> tuple[str, ...]:
    """Class names, each once, as names are compared, without some.

    >>> distinct(["Road", "void", "road"], left_out=["VOID"])
    ('Road',)
    """
    without = {plain_name(name) for name in left_out}
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(plain_name(name), name)
    return tuple(name for plain, name in found.items() if plain not in without)


def _listed_space(text: str) -> LabelSpace:
    """The classes of a list with commas; `ignore` is left out, unless it is one of them."""
    classes = names_in(text)
    train_ids = {plain_name(name): train_id for train_id, name in enumerate(classes)}
    if len(train_ids) < len(classes):
        raise ConfigError(f"label_space '{text}' names a class twice; name each once")
    return LabelSpace(text, tuple(classes), _colours([None] * len(classes)), {"ignore": IGNORE_INDEX} | train_ids)


def _colours(given: Sequence[Colour | None]) -> np.ndarray:
    """(K, 3) uint8, each class in its colour or, without one, in one of its own.

    Hues a golden section apart never come close to one another, however many there are.
    """
    hues = [colorsys.hsv_to_rgb(0.618034 * train_id % 1, 0.65, 0.9) for train_id in range(len(given))]
    chosen = np.rint(255 * np.array(hues)).astype(np.uint8)
    return np.array([own if own is not None else other for own, other in zip(given, chosen, strict=True)], np.uint8)


def _listed(names: set[str]) -> str:
    first, more = sorted(names)[:5], len(names) - 5
    return ", ".join(map(repr, first)) + (f" and {more} more" if more > 0 else "")
