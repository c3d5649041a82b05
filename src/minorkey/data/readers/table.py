"""Tables of images: a CSV with a line for each, its columns found by their names."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minorkey.data.readers.files import Files
from minorkey.errors import DataError


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

    def are_in(self, header: Sequence[str]) -> bool:
        """Whether a header has those that are needed."""
        return set(self.names[: self.needed]) <= set(self.named(header))


def read_table(files: Files, table: str, columns: Columns) -> list[dict[str, str]]:
    """The rows of a CSV, by the names in its first line.

    Raises:
        DataError: it cannot be read, or lacks a column.
    """
    where = files.where(table)
    try:
        rows_of_table = csv.DictReader(io.StringIO(files.read(table).decode("utf-8-sig"), newline=""), restval="")
        header = columns.named(rows_of_table.fieldnames or [])
        rows_of_table.fieldnames = header
        if missing := [name for name in columns.names[: columns.needed] if name not in header]:
            optional = "the last two may be left out"
            raise DataError(f"{where} has no column '{missing[0]}'; expected {', '.join(columns.names)} ({optional})")
        if len(set(header)) < len(header):
            raise DataError(f"{where} has two columns of one name; keep one of them")
        rows = list(rows_of_table)
        if spare := [number for number, row in enumerate(rows, start=2) if row.get(None)]:
            raise DataError(f"{where}, line {spare[0]}: it has more fields than columns; quote names that hold a comma")
        return [{name: (row[name] or "").strip() for name in columns.names if name in header} for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} is no CSV in UTF-8: {error}") from error


def is_of(row: Mapping[str, str], known: Mapping[str, str]) -> bool:
    """Whether a row is of a domain and a split, as far as these are known and the table has them."""
    return all(name not in row or not value or row[name] == value for name, value in known.items())
