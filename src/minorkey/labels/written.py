"""The forms in which a label space is written: names in a list, names with colours, or a table with all of it."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator

from minorkey.errors import ConfigError
from minorkey.labels.tables import parse_row
from minorkey.system.reading import shown

LISTED = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,]*))\s*(?:,|\Z)')
"""A name in a list with commas, in quotes or without, and the comma."""

Channel = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]


class ClassRow(BaseModel):
    """One class of a label space as a table holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    colour: Colour | None = None  # RGB; one is chosen where absent
    accepts: list[str] = []  # other names of it in data sets


class SpaceRow(BaseModel):
    """A label space as a table holds it; the order of the classes is their train id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None  # that of its file, or else its list, where absent
    classes: dict[str, ClassRow] = Field(min_length=1)
    ignores: list[str] = []

    @field_validator("classes", mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """A list of names, or of rows with their `name`; a class as its colour, or as nothing."""
        if isinstance(value, list):
            rows = [row if isinstance(row, Mapping) else {"name": row} for row in value]
            names = checked_names([row.get("name") for row in rows])
            rest = [{key: value for key, value in row.items() if key != "name"} for row in rows]
            return dict(zip(names, rest, strict=True))
        if isinstance(value, Mapping):
            return {name: _class_row(row) for name, row in value.items()}
        return value

    @field_serializer("classes")
    def _in_order(self, classes: dict[str, ClassRow]) -> list[dict[str, Any]]:
        """As a list, for the order of a mapping is lost in a checksum."""
        return [{"name": name, **row.model_dump(mode="json", exclude_defaults=True)} for name, row in classes.items()]


def space_row(content: object, origin: str) -> SpaceRow:
    """The label space in what a YAML file or a setting holds: `[a, b]`, `{a: [r, g, b], ...}` or `{classes: ...}`.

    Args:
        content: that.
        origin: where it was written, for errors.

    Raises:
        ConfigError: it is none of these.
    """
    short = isinstance(content, list) or (
        isinstance(content, Mapping)
        and "classes" not in content
        and bool(content)
        and all(row is None or isinstance(row, (list, tuple)) for row in content.values())
    )
    return parse_row(SpaceRow, {"classes": content} if short else content, origin)


def listed_text(names: Sequence[str]) -> str:
    """Class names as one text, `cat, dog`, which is the name of their label space; those with a comma are quoted.

    >>> listed_text(["cat, small", "dog"]), listed_text(["dog"])
    ('"cat, small", dog', 'dog,')
    """
    quoted = ['"' + name.replace('"', '""') + '"' if _needs_quotes(name) else name for name in names]
    return ", ".join(quoted) if len(quoted) > 1 else f"{quoted[0]},"


def _needs_quotes(name: str) -> bool:
    return any(mark in name for mark in ',"') or name != name.strip() or name.startswith("[")


def names_in(text: str) -> list[str]:
    """Inverse of `listed_text`, for any blanks around the commas.

    Raises:
        ConfigError: quotes are not closed, or a class is named twice.
    """
    if text.startswith("["):
        raise ConfigError(f"label_space {shown(text)} is a text in brackets; give a list, or leave them out")
    names, end = [], 0
    while end < len(text):
        found = LISTED.match(text, end)
        assert found is not None, "a name may be empty"
        end = found.end()
        quoted, plain = found.groups()
        if quoted is None and plain.startswith('"'):
            raise ConfigError(
                f"label_space {shown(text)}: {shown(plain)} is not closed by a quote; close or leave it out"
            )
        names.append(plain.strip() if quoted is None else quoted.replace('""', '"'))
    try:
        return checked_names([name for name in names if name])
    except ValueError as error:
        raise ConfigError(f"label_space {shown(text)}: {error}") from error


def checked_names(names: Sequence[Any]) -> list[str]:
    """Class names, each once.

    Raises:
        ValueError: one is no text or stands twice, or there are none.
    """
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"class {shown(name)} is no text; write it in quotes")
    if not names:
        raise ValueError("it names no class; name one or more, e.g. [cat, dog]")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it names class '{twice}' twice; name each once")
    return list(names)


def _class_row(row: Any) -> Any:
    return {} if row is None else {"colour": row} if isinstance(row, (list, tuple)) else row
