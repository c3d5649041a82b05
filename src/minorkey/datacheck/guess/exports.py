"""Exports of labelling tools: what they are read as without a `dataset.yaml`, written down."""

from pathlib import Path
from typing import Any

from minorkey.data.readers.exports import recognise
from minorkey.datacheck.guess.guess import TOP, Guess, line
from minorkey.errors import printable


def guess_export(folder: Path, annotation: str, task: str) -> Guess | None:
    """What a folder is as the export of a tool; None: it is none, or one of label images, of which more is counted.

    Raises:
        DataError: it is two exports, or half of one.
    """
    found = recognise(folder, annotation, guessed=False)
    if found is None:
        return None
    values = {key: value for key, value in found.row.items() if value != []}
    text = TOP + f"# {found.form}: {printable(found.why)}.\n" + "".join(_lines(key, values[key]) for key in values)
    return Guess(task, f"an export: {found.form}", text)


def _lines(key: str, value: Any) -> str:
    """A key with its value; of classes, one on each line."""
    if key not in ("ids", "colours") or not isinstance(value, dict):
        return line(key, value)
    return f"{key}:\n" + "".join(f"  {line(*item)}" for item in value.items())
