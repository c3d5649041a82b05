"""What is wrong with options that a user gave, in one line."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from minorkey.errors import ConfigError, MinorkeyError, closest, unknown
from minorkey.system.reading import FAULTS, INTEGERS, shown, words

Model = TypeVar("Model", bound=BaseModel)

MOST_PLACES = 3
"""Places of a key that a message names."""


def validated(model: type[Model], values: Any, origin: str = "") -> Model:
    """Values as a model, whose numbers are finite and fit into 64 bits; `origin` is the file that they are from.

    Raises:
        ValidationError: a key or value is wrong.
        ConfigError: a number is out of range, or a value is of a kind that nothing of the model expects.
    """
    try:
        found = model.model_validate(values)
        numbers = list(_numbers(found.model_dump()))
    except (MinorkeyError, ValidationError):
        raise
    except FAULTS as error:
        raise ConfigError(f"{origin or 'the configuration'} is not what is expected: {words(error)}") from error
    for place, number in numbers:
        if abs(number) >= INTEGERS or not math.isfinite(number):
            place = f"{origin}: {place}" if origin else place
            raise ConfigError(f"{place} is {shown(number)}; expected a finite number below 2^63")
    return found


def _numbers(values: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in nested values, each with its place."""
    if isinstance(values, (int, float)):
        yield place, values
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _numbers(value, f"{place}.{key}" if place else str(key))
    elif isinstance(values, (list, tuple)):
        for index, value in enumerate(values):
            yield from _numbers(value, f"{place}.{index}")


def own_options(section: str, model: type[BaseModel], values: Any) -> Any:
    """A section whose keys depend on which part is named, read by that part's own model.

    Raises:
        ConfigError: as of any section.
    """
    if isinstance(values, BaseModel):
        values = values.model_dump(exclude_unset=True)
    try:
        return validated(model, values)
    except ValidationError as error:
        raise ConfigError(one_line(error, model, section)) from error


def one_line(error: ValidationError, model: type[BaseModel], section: str = "") -> str:
    """The first fault, with its place in the file and, for an unknown key, the closest one there is.

    What is not set comes last: its key may be there, misspelt.
    """
    first = min(error.errors(), key=lambda fault: fault["type"] == "missing")
    place = [section, *first["loc"]] if section else [*first["loc"]]
    path = ".".join(map(str, place))
    if first["type"] == "extra_forbidden":
        if meant := places_of(str(place[-1]), model):
            return f"unknown key '{path}'; did you mean {' or '.join(repr(key) for key in meant)}?"
        keys = _section(first["loc"][:-1], model).model_fields
        return unknown("key", path, [_join(place[:-1], key) for key in keys])
    if first["type"] == "missing":
        return f"'{path}' is not set; give it in the preset or as {path}=value"
    if first["type"] == "literal_error":
        choices = re.split(",? or |, ", str(first["ctx"]["expected"]).replace("'", ""))
        close = closest(str(first["input"]), choices) or "."
        return f"{path} is {shown(first['input'])}{close} Known: {', '.join(choices)}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{path} is {shown(first['input'])}: {message}" if path else message


def places_of(name: str, model: type[BaseModel]) -> list[str]:
    """Where a key stands in a model or its sections, at most three places: `lr` is `training.lr`."""
    return list(islice((key for key in _keys(model) if key.rpartition(".")[2] == name), MOST_PLACES))


def _keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """All keys, those of a section after its own."""
    for key in model.model_fields:
        yield above + key
        section = _section([key], model)
        if section is not model:
            yield from _keys(section, f"{above}{key}.")


def _join(parts: Sequence[int | str], key: str) -> str:
    return ".".join([*map(str, parts), key])


def _section(parts: Sequence[int | str], model: type[BaseModel]) -> type[BaseModel]:
    """The model class of a section of the configuration, or of another model."""
    for part in parts:
        if isinstance(part, int):  # a place in a list
            continue
        if str(part) not in model.model_fields:  # the key of a mapping, or the kind of a union
            break
        annotation: Any = model.model_fields[str(part)].annotation
        annotation = next(iter(get_args(annotation)), annotation)  # in a list, or where None may stand
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return model
