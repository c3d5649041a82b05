"""Tables of images: a CSV with a line for each, its columns found by their names."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minorkey.data.readers.files import Files
from minorkey.data.readers.text import composed
from minorkey.errors import DataError

SEPARATORS = ",;\t"
"""Of fields; which one, the first line says."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table, under the names that they have here."""

    names: Sequence[str]
    needed: int  # how many of them, the first ones, a table must have
    also_called: Mapping[str, Sequence[str]]
    """Other names, in any case, which are looked for where the table has none of the name itself."""

    def named(self, header: Sequence[str]) -> list[str]:
        """The names in a header, those that stand for ours changed to ours.

        >>> Columns(["file", "split"], 1, {"file": ["image"], "split": ["set"]}).named(["Image", "set", "note"])
        ['file', 'split', 'note']
        """
        plain, found = [column.strip().lower() for column in header], list(header)
        for ours in self.names:
            called = (ours, *self.also_called.get(ours, ()))
            if ours not in header and (other := next((name for name in called if name in plain), None)):
                found[plain.index(other)] = ours
        return found

    def are_in(self, first_line: str) -> bool:
        """Whether the first line of a table has those that are needed."""
        (header,) = csv.reader([first_line], delimiter=separator(first_line))
        return set(self.names[: self.needed]) <= set(self.named(header))


def separator(first_line: str) -> str:
    """What is between the fields of a table, as its first line has it.

    >>> separator("image;mask"), separator("image")
    (';', ',')
    """
    return max(SEPARATORS, key=first_line.count)


def read_table(files: Files, table: str, columns: Columns) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV, each with the number of its line, by the names in its first line.

    Raises:
        DataError: it cannot be read, lacks a column, or says of some rows alone which split or domain they are of.
    """
    where = files.where(table)
    try:
        text = files.read(table).decode("utf-8-sig")
        between = separator(text.partition("\n")[0])
        rows_of_table = csv.DictReader(io.StringIO(text, newline=""), restval="", delimiter=between)
        header = columns.named(rows_of_table.fieldnames or [])
        rows_of_table.fieldnames = header
        if missing := [name for name in columns.names[: columns.needed] if name not in header]:
            optional = "the last two may be left out"
            raise DataError(f"{where} has no column '{missing[0]}'; expected {', '.join(columns.names)} ({optional})")
        if len(set(header)) < len(header):
            raise DataError(f"{where} has two columns of one name; keep one of them")
        rows = [(rows_of_table.line_num, row) for row in rows_of_table]
        if spare := [number for number, row in rows if row.get(None)]:
            raise DataError(f"{where}, line {spare[0]}: it has more fields than columns; quote names that hold a comma")
        named = [
            (number, {name: (row[name] or "").strip() for name in columns.names if name in header})
            for number, row in rows
        ]
        for column in columns.names[columns.needed :]:
            empty = [number for number, row in named if not row.get(column)]
            if 0 < len(empty) < len(named):  # else nobody would miss the image
                raise DataError(f"{where}, line {empty[0]}: it has no {column}, and other lines have one; fill it")
        return named
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} is no CSV in UTF-8: {error}") from error


def is_of(row: Mapping[str, str], known: Mapping[str, str]) -> bool:
    """Whether a row is of a domain and a split, as far as these are known and the table has them."""
    return all(name not in row or not value or row[name] == value for name, value in known.items())


def named_from(place: str, table: str, root: Path) -> Iterator[str]:
    """The files below a root that a field of a table may mean.

    Paths are from the root, from the folder of the table or from the folder above the root, or whole.

    >>> list(named_from("masks\\\\a.png", "lists/train.csv", Path("streets")))
    ['masks/a.png', 'lists/masks/a.png']
    >>> list(named_from("streets/masks/a.png", "train.csv", Path("streets")))
    ['streets/masks/a.png', 'masks/a.png']
    """
    plain = composed(place).replace("\\", "/").removeprefix("./")
    yield plain
    if above := table.rpartition("/")[0]:
        yield f"{above}/{plain}"
    whole = root.resolve()  # last of all, for it asks the file system
    yield from (
        plain.removeprefix(head) for head in (f"{whole.as_posix()}/", f"{whole.name}/") if plain.startswith(head)
    )
