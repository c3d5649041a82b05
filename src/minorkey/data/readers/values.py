"""Values as annotation files write them: numbers, flags and sides of images, whichever tool wrote them."""

from typing import Any

from minorkey.errors import DataError
from minorkey.system.reading import json_of, words


def whole_json(content: bytes, file: str) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it is broken.
    """
    try:
        return json_of(content, finite=False)  # of a box that is not, the annotation is named
    except (ValueError, MemoryError) as error:
        raise DataError(f"{file}: broken JSON ({words(error)}); replace the file") from error


def json_with(content: bytes, file: str, field: str, tool: str) -> dict[str, Any]:
    """The JSON of a tool, which has a list under a name.

    Raises:
        DataError: it is broken, or of another form.
    """
    document = whole_json(content, file)
    if not isinstance(document, dict) or not isinstance(document.get(field), list):
        raise DataError(f"{file} is not of {tool}'s form; expected a list `{field}`")
    return document


def number(value: object, what: str, where: str) -> float:
    """A number as files write it; NaN and infinity are numbers.

    Raises:
        DataError: it is none.
    """
    if type(value) is float:
        return value
    try:
        if isinstance(value, bool) or (isinstance(value, str) and "_" in value):  # `float` takes both
            raise ValueError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: {what} is {_short(value)}, expected a number; mend or remove it") from error


def whole(value: object) -> int | None:
    """A number without a fraction, `1.0` and `"1"` among them, as tools for tables write ids; None of what is none."""
    if type(value) is int:
        return value
    try:
        found = number(value, "", "")
    except DataError:
        return None
    return int(found) if found.is_integer() else None


FLAGS: dict[str, bool] = {"0": False, "false": False, "none": False, "": False, "1": True, "true": True}


def flag(value: object, what: str, where: str) -> bool:
    """Yes or no as files write it: 0 or 1, true or false, as text too; what is not said is no.

    Raises:
        DataError: it is something else.
    """
    if value is False or (type(value) is int and value == 0):
        return False
    given = whole(value)
    found = FLAGS.get(str(value if given is None else given).strip().lower())
    if found is None:
        raise DataError(f"{where}: {what} is {_short(value)}, expected 0 or 1; mend it")
    return found


def side(value: object, what: str, where: str) -> int:
    """A side of an image in pixels; 0 where it is not said, as 0, -1 or null.

    Raises:
        DataError: it is no number of pixels.
    """
    found = 0 if value in (None, "") else whole(value)
    if found is None or not -1 <= found < 1 << 31:
        raise DataError(f"{where}: {what} is {_short(value)}, expected a number of pixels, or 0 if not known; mend it")
    return max(0, found)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
