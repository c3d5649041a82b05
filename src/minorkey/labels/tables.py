"""Tables that users may write too: YAML in, a checked pydantic model out, one line when it is wrong."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ValidationError

from minorkey.errors import ConfigError, unknown
from minorkey.system.faults import validated
from minorkey.system.reading import LARGEST_YAML, reading, yaml_of
from minorkey.system.regular import regular_bytes

Row = TypeVar("Row", bound=BaseModel)


def _numbered(value: object) -> object:
    """A list counts from 0; of a mapping, no two keys may be one number, as `1` and `"1"` are."""
    if isinstance(value, list):
        return dict(enumerate(value))
    if isinstance(value, dict):
        seen: dict[object, object] = {}
        for key in value:
            number = int(key) if isinstance(key, str) and key.strip().isdecimal() else key
            if (other := seen.setdefault(number, key)) is not key:
                raise ValueError(f"{other!r} and {key!r} are one id; keep one of them")
    return value


Numbered = Annotated[dict[int, str], BeforeValidator(_numbered)]
"""Names by their number; a list of names counts from 0."""


def read_yaml(file: Path) -> object:
    """What the YAML `file` holds.

    Raises:
        ConfigError: it cannot be read, or is not YAML (with the line).
    """
    with reading(file, "mend the file", ConfigError):
        return yaml_of(regular_bytes(file, LARGEST_YAML))


def shipped_yaml(file: Path) -> dict[str, Any]:
    """A table of this package, which needs no care, and is read by every command: by libyaml, where that is there."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return loader(file.read_text(encoding="utf-8")).get_single_data()


def parse_row(model: type[Row], content: object, origin: str) -> Row:
    """`content` as a `model`; `origin` says in the error where it was written.

    Raises:
        ConfigError: a key is unknown (closest name offered), missing, or has a wrong value.
    """
    try:
        return validated(model, content, origin)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            raise ConfigError(f"{origin}: {unknown('key', where, model.model_fields)}") from error
        raise ConfigError(f"{origin}: {where or 'content'}: {first['msg'].removeprefix('Value error, ')}") from error


def one_target(read_as: dict[str, list[str]]) -> dict[str, list[str]]:
    """The table `class -> those that count as it`, checked to give each of those one class.

    Raises:
        ValueError: one is listed under two.
    """
    targets: dict[str, str] = {}
    for target, names in read_as.items():
        for name in names:
            if (other := targets.setdefault(name, target)) != target:
                raise ValueError(f"'{name}' is listed under '{other}' and '{target}'; keep one of them")
    return read_as


def read_forms(model: type[Row], file: Path) -> dict[str, tuple[Row, ...]]:
    """A shipped table: name -> its row, or its rows where it lists several.

    Raises:
        ConfigError: as `parse_row`.
    """
    content = shipped_yaml(file)
    forms = {name: rows if isinstance(rows, list) else [rows] for name, rows in content.items()}
    return {name: tuple(parse_row(model, row, name) for row in rows) for name, rows in forms.items()}
