"""From the name or the path of a data set to its folder, the forms it may have, and its domains."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from minorkey.data.readers.spec import DatasetSpec, named_datasets
from minorkey.errors import ConfigError, DataError, unknown
from minorkey.labels.tables import parse_row, read_yaml


class Located(NamedTuple):
    """A data set on disk."""

    root: Path
    forms: tuple[DatasetSpec, ...]  # tried in order
    domains: dict[str, str]  # domain -> its folder, "" where the data set is one domain


def split_name(spec: str) -> tuple[str, str]:
    """`name:part` as (name, part); a path may hold colons itself, so one that exists is taken whole."""
    if Path(spec).is_dir() or ":" not in spec:
        return spec, ""
    name, _, part = spec.rpartition(":")
    return name, part


def locate(name: str, data_root: Path | None) -> Located:
    """Find a known data set in `data_root`, one of its domains as in `acdc-night`, or the one in a folder.

    Raises:
        ConfigError: unknown name, or no `data_root` for a known one.
        DataError: the folder, or the `dataset.yaml` in it, is missing.
    """
    known = _known()
    if name in known:
        row, domains = known[name]
        forms = named_datasets()[row]
        return Located(_named_root(row, forms[0].folder or row, data_root), forms, domains)
    root = Path(name)
    if not root.is_dir():
        if root.name == name:
            choices = unknown("data set", name, [*known, "world", "hf"])
            raise ConfigError(f"{choices}, or the path of a folder with a dataset.yaml (a target: of images)")
        raise DataError(
            f"folder {root} is missing; expected images/, labels/ and dataset.yaml in it (a target: images)"
        )
    spec = read_spec(root)
    return Located(root, (spec,), _domains(spec.name or root.resolve().name, spec))


def read_spec(folder: Path) -> DatasetSpec:
    """The `dataset.yaml` in a folder.

    Raises:
        DataError: there is none.
        ConfigError: it is wrong.
    """
    file = folder / "dataset.yaml"
    if not file.is_file():
        raise DataError(
            f"{file} is missing; write one with the class of every id, e.g. `ids: {{0: road, 255: ignore}}`"
        )
    return parse_row(DatasetSpec, read_yaml(file), str(file))


def is_bare(name: str) -> bool:
    """Whether this is an image, a folder or a glob of images of which no `dataset.yaml` and no table says anything."""
    path = Path(name)
    if path.is_dir():
        return name not in _known() and not (path / "dataset.yaml").is_file()
    return path.is_file() or any(mark in name for mark in "*?[")


@cache
def _known() -> dict[str, tuple[str, dict[str, str]]]:
    """Name -> row of the table and its domains; the domains of a row are names too."""
    known: dict[str, tuple[str, dict[str, str]]] = {}
    for row, forms in named_datasets().items():
        domains = _domains(row, forms[0])
        known |= {domain: (row, {domain: place}) for domain, place in domains.items()} | {row: (row, domains)}
    return known


def _domains(name: str, spec: DatasetSpec) -> dict[str, str]:
    return {f"{name}-{place}": place for place in spec.domains} or {name: ""}


def _named_root(name: str, folder: str, data_root: Path | None) -> Path:
    if data_root is None:
        raise ConfigError(f"data set '{name}' needs `data_root`, the folder that holds {folder}/")
    root = data_root / folder
    if not root.is_dir():
        raise DataError(f"folder {root} is missing; put data set '{name}' there or set `data_root` to where it lies")
    return root
