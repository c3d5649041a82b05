"""A spectrum on disk: each table as CSV, and as JSON with the singular values and all else."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from minorkey.errors import DataError
from minorkey.spectrum.plots import FIGURES
from minorkey.spectrum.rows import DriftRow, Spectrum, UpdateRow, WeightRow
from minorkey.system.ours import check, claim, refuse_links
from minorkey.system.reading import json_of, reading
from minorkey.system.regular import regular_bytes
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import write_csv, write_json

DIGITS = 6
"""Significant digits of what is written."""

PART = "a spectrum"

KNOCKOUTS = ("knockout_major", "knockout_minor", "knockout_classes")
"""Pictures of a knock-out, which lie beside those of a survey."""

ROWS: dict[str, TypeAdapter] = {
    "weights": TypeAdapter(list[WeightRow]),
    "update": TypeAdapter(list[UpdateRow]),
    "drift": TypeAdapter(list[DriftRow]),
}


def write_spectrum(spectrum: Spectrum, folder: Path) -> None:
    """Write `weights`, `update` and `drift`, each as `.csv` and `.json`, where they have rows.

    Tables that an earlier survey left and this one does not have are removed.

    Raises:
        StorageError: a file cannot be written.
    """
    for name in ROWS:
        rows = [_rounded(asdict(row)) for row in getattr(spectrum, name)]
        table, full = folder / f"{name}.csv", folder / f"{name}.json"
        if rows:
            lines = [dict(_flat(row)) for row in rows]
            write_csv(table, lines[0], (line.values() for line in lines))
            write_json(full, {"target": spectrum.target, "rank": spectrum.rank, "rows": rows})
        else:
            table.unlink(missing_ok=True)
            full.unlink(missing_ok=True)


def check_spectrum(folder: Path, run: Path | None) -> None:
    """Make sure, before anything is computed, that tables and pictures replace none but those of an earlier survey.

    Args:
        folder: where they are to go.
        run: whose weights are looked at, if they are a run's: its own folder for them is ours.

    Raises:
        ConfigError: they would.
    """
    if run is not None:
        refuse_links(run, ["spectrum"])
    if not _is_home(folder, run):
        check(folder, PART, _names())


def claim_spectrum(folder: Path, run: Path | None) -> None:
    """The same, and make the folder one of a spectrum, before anything is written."""
    claim(folder, PART, _names(), home=_is_home(folder, run))


def _is_home(folder: Path, run: Path | None) -> bool:
    return run is not None and folder.resolve() == RunFolder(run).spectrum.resolve()


def _names() -> list[str]:
    """All but `knockout.jsonl`, which is only ever added to, and refuses what is not of the same knock-out."""
    tables = (f"{name}{suffix}" for name in (*ROWS, "knockout") for suffix in (".csv", ".json"))
    return [*tables, *(f"{name}{suffix}" for name in (*FIGURES, *KNOCKOUTS) for suffix in (".svg", ".png"))]


def holds_spectrum(folder: Path) -> bool:
    """Whether a survey was written to this folder."""
    return (folder / "weights.json").is_file()


def read_spectrum(folder: Path) -> Spectrum:
    """Read back what `write_spectrum` wrote.

    Raises:
        DataError: there is no spectrum, or a file of it is broken.
    """
    if not holds_spectrum(folder):
        raise DataError(f"no spectrum in '{folder}' (weights.json is missing); run `minorkey spectrum` first")
    contents = {name: _read(folder / f"{name}.json", adapter) for name, adapter in ROWS.items()}
    target, rank, _ = contents["weights"]
    return Spectrum(target, rank, *(rows for _, _, rows in contents.values()))


def _read(path: Path, adapter: TypeAdapter) -> tuple[str, int, list]:
    if not path.is_file():
        return "", 0, []
    with reading(f"'{path}'", "run `minorkey spectrum` again"):
        content = json_of(regular_bytes(path))
        return str(content["target"]), int(content["rank"]), adapter.validate_python(content["rows"])


def _flat(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The columns of a table; lists of singular values are in the JSON only."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}_")
        elif not isinstance(value, (list, tuple)):
            yield before + name, value


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return value
