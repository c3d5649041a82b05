"""We replace only what we wrote.

A folder that results go to has a record of the names that a command writes there and of what they are part of, made
before the first of them is written. What lies under such a name and is not in the record is somebody's own, and is left
alone. A page, its figures, and tables are files among others, and carry a mark of their own instead.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from minorkey.errors import ConfigError
from minorkey.system.reading import json_of
from minorkey.system.regular import regular_bytes
from minorkey.system.storage import write_json

RECORD = ".minorkey.json"
"""In a folder that was written to: name -> what it is part of."""

MARKS = (b'<p class="eyebrow">minorkey', b"<dc:title>minorkey</dc:title>", b"Software\x00minorkey")
"""In pages, in SVG and in PNG."""

MARKDOWN = "<!-- scores by minorkey -->"
TABLE = "run,method,seed,regime,targets,steps,protocol,metric,unit,role,domain,images,score,low,high"
"""How tables begin; within somebody's page, where one was pasted, they mark nothing."""

HEAD = 2**16
"""Bytes at the beginning of a file that a mark lies in."""


def check(folder: Path, part: str, names: Iterable[str]) -> None:
    """Make sure, before anything is computed, that a result will replace none but an earlier one of its kind.

    Args:
        folder: that is written to; it need not be there.
        part: of what, e.g. "an evaluation"; messages say so.
        names: files and folders that may be written, relative to the folder.

    Raises:
        ConfigError: something is there that is not part of an earlier one.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"'{folder}' is a file, and {part} needs a folder; choose another --out")
    known = recorded(folder)
    for name in names:
        if known.get(name) != part and os.path.lexists(folder / name) and not _is_empty(folder / name):
            raise ConfigError(
                f"'{folder / name}' is there already and not part of {part} that minorkey wrote; choose another --out, "
                "or move it away"
            )


def claim(folder: Path, part: str, names: Iterable[str], *, home: bool = False) -> None:
    """Make names in a folder those of a result, before the first of them is written.

    Args:
        folder: as for `check`.
        part: likewise.
        names: likewise.
        home: the folder is a place within a run, where everything is ours, whether it was recorded or not.

    Raises:
        ConfigError: as `check`.
        StorageError: the record cannot be written.
    """
    names = list(names)
    if not home:
        check(folder, part, names)
    known = recorded(folder)
    if any(known.get(name) != part for name in names):
        write_json(folder / RECORD, known | dict.fromkeys(names, part))


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Raise `ConfigError` where what is written under a name in a folder of anyone's would land outside it."""
    home = folder.resolve()
    for name in names:
        if not (folder / name).resolve().is_relative_to(home):
            raise ConfigError(
                f"'{folder / name}' is, or lies behind, a link out of '{folder}'; remove it, or choose another --out"
            )


def recorded(folder: Path) -> dict[str, str]:
    """The names in a folder that are ours; none where there is no record, or a damaged one."""
    try:
        content = json_of(regular_bytes(folder / RECORD))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def refuse_unmarked(files: Iterable[Path]) -> None:
    """Raise `ConfigError` if one of these is there and is no page, figure or table of ours."""
    for file in files:
        if os.path.lexists(file) and not is_marked(file):
            raise ConfigError(
                f"'{file}' is there already and no page, figure or table that minorkey wrote; choose another --out, or "
                "move it away"
            )


def is_marked(file: Path) -> bool:
    """Whether this is a page, a figure or a table that we wrote."""
    if not file.is_file():
        return False
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError:
        return False
    return any(mark in head for mark in MARKS) or head.startswith((MARKDOWN.encode(), TABLE.encode()))
