"""The files of a knock-out: JSON lines while it works; a table, a JSON file and pictures at the end."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minorkey.errors import ConfigError, StorageError
from minorkey.plotting.style import save_figure
from minorkey.spectrum.knockout.plots import knockout_figures
from minorkey.spectrum.knockout.rows import KnockoutRow, Setting
from minorkey.spectrum.knockout.suggestion import Suggestion
from minorkey.system.reading import json_of, reading, text_of
from minorkey.system.regular import regular_bytes
from minorkey.system.storage import storage_errors, write_csv, write_json, write_text

COLUMNS = (
    "block",
    "removed",
    "share",
    "domain",
    "role",
    "images",
    "metric",
    "intact",
    "without",
    "loss",
    "low",
    "high",
)
"""Of the table; after them comes one for the loss of each class."""


class KnockoutLog:
    """The finished settings of a knock-out, in a file that grows with each of them.

    Args:
        path: one JSON list of rows per line, below a first line that says what was asked for.
        asked: whatever decides the rows: model, domains, images, share.

    Raises:
        ConfigError: the file was made with another model or other settings.
        StorageError: the file is damaged or cannot be written.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: dict[Setting, list[KnockoutRow]] = {}
        if path.is_file():
            self._read(asked)
        else:
            write_text(path, json.dumps(asked) + "\n")

    def add(self, setting: Setting, rows: Sequence[KnockoutRow]) -> None:
        """Append a finished setting."""
        self.rows[setting] = list(rows)
        line = json.dumps([row.model_dump(mode="json") for row in rows])
        with storage_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _read(self, asked: Mapping[str, Any]) -> None:
        with reading(f"'{self.path}'", "delete it and run the same command again", StorageError):
            text = text_of(regular_bytes(self.path))
            whole = text[: text.rfind("\n") + 1]  # a killed run leaves half a line at the end
            first, *lines = map(json_of, whole.splitlines())
            done = [[KnockoutRow(**row) for row in line] for line in lines]
            different = [key for key in asked if first.get(key) != asked[key]]
            rows_of = {(rows[0].block, rows[0].which): rows for rows in done}
        if different:
            key = different[0]
            raise ConfigError(
                f"'{self.path}' was made with {key} {first.get(key)}, now asked for with {asked[key]}; "
                "choose another --out, or delete the file"
            )
        if whole != text:
            write_text(self.path, whole)
        self.rows = rows_of


def write_knockout(rows: Sequence[KnockoutRow], suggestion: Suggestion, folder: Path) -> None:
    """Write `knockout.csv` (scores in their unit), `knockout.json` and `knockout_{major,minor,classes}.png`.

    Raises:
        StorageError: a file cannot be written.
    """
    write_csv(folder / "knockout.csv", [*COLUMNS, *(f"loss_{name}" for name in rows[0].class_loss)], _lines(rows))
    values = [row.model_dump(mode="json") for row in rows]
    write_json(folder / "knockout.json", {"suggestion": asdict(suggestion), "rows": values})
    for name, figure in knockout_figures(rows).items():
        save_figure(figure, folder / name)


def read_knockout(folder: Path) -> tuple[list[KnockoutRow], Suggestion] | None:
    """Read back what `write_knockout` wrote; None where there is nothing.

    Raises:
        StorageError: the file is damaged.
    """
    path = folder / "knockout.json"
    if not path.is_file():
        return None
    with reading(f"'{path}'", "run `minorkey spectrum --knockout` again", StorageError):
        content = json_of(regular_bytes(path))
        return [KnockoutRow(**row) for row in content["rows"]], Suggestion(**content["suggestion"])


def _lines(rows: Sequence[KnockoutRow]) -> Iterator[list[Any]]:
    """The rows of the table, scores and losses in the unit of the metric."""
    for row in rows:
        scores = [row.intact, row.without, row.loss, row.low, row.high, *row.class_loss.values()]
        points = ["" if score is None else f"{row.scored.amount(score):.3f}" for score in scores]
        yield [row.block_name, row.which, row.share, row.domain, row.role, row.images, row.scored.name, *points]
