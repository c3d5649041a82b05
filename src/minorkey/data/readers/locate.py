"""From the name or the path of a data set to its folder, the forms it may have, and its domains."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from minorkey.data.readers.kinds import KINDS, is_export, kind_of
from minorkey.data.readers.layout import Layout
from minorkey.errors import ConfigError, DataError, unknown


class DomainPart(NamedTuple):
    """The part of a data set that is a domain of its own: all of it where nothing is said."""

    place: str = ""  # its folder
    luma: tuple[float, float] | None = None  # the mean luma of its images: from the first number, below the second


class Located(NamedTuple):
    """A data set on disk."""

    root: Path
    forms: Sequence[Layout]  # tried in order
    domains: dict[str, DomainPart]


def split_name(spec: str) -> tuple[str, str]:
    """`name:part` as (name, part); a path may hold colons itself, so one that exists is taken whole."""
    if Path(spec).is_dir() or ":" not in spec:
        return spec, ""
    name, _, part = spec.rpartition(":")
    return name, part


def locate(name: str, data_root: Path | None, annotation: str = "pixels") -> Located:
    """Find a known data set in `data_root`, or the one in a folder; one of its domains as in `acdc-night`.

    Raises:
        ConfigError: unknown name or domain, or no `data_root` for a known one.
        DataError: the folder, or the `dataset.yaml` in it, is missing.
    """
    kind, known = kind_of(annotation), _known(annotation)
    if name in known:
        row, domains = known[name]
        forms = kind.named()[row]
        return Located(_named_root(row, forms[0].folder or row, data_root), forms, domains)
    root, part = _parted(Path(name), kind.bare)
    if not root.is_dir():
        if root.name == name:
            if other := next((row.task for other, row in KINDS.items() if name in _known(other)), None):
                raise ConfigError(f"data set '{name}' is for {other}, the task is {kind.task}; set task={other}")
            choices = unknown("data set", name, [*known, "world", "hf"])
            raise ConfigError(f"{choices}, or the path of a folder with a dataset.yaml (a target: of images)")
        expected = "class folders" if kind.bare else "images/, labels/ and dataset.yaml"
        raise DataError(f"folder {root} is missing; expected {expected} in it (a target: images)")
    spec = kind.read(root)
    title = spec.name or root.resolve().name
    return Located(root, (spec,), _named_domain(title, spec, part) if part else _domains(title, spec))


def _parted(path: Path, bare: bool) -> tuple[Path, str]:
    """A folder and the name of a domain in it: `farm-dark` is `dark` of the folder `farm`, if it is none itself."""
    if not path.exists():
        for end in reversed([place for place, sign in enumerate(path.name) if sign == "-" and place]):
            folder = path.with_name(path.name[:end])
            if (folder / "dataset.yaml").is_file() or (bare and folder.is_dir()):
                return folder, path.name[end + 1 :]
    return path, ""


def _named_domain(title: str, spec: Layout, part: str) -> dict[str, DomainPart]:
    """One domain of a data set."""
    domains = _domains(title, spec) | _by_brightness(title, spec)
    domain = f"{title}-{part}"
    if domain not in domains:
        raise ConfigError(f"{unknown('domain', domain, domains)}, and no folder has this name")
    return {domain: domains[domain]}


def is_bare(name: str, annotation: str = "pixels") -> bool:
    """Whether this is an image, or a folder or glob of images of which neither `dataset.yaml`, table nor tool tells."""
    path = Path(name)
    if path.is_dir():
        if name in _known(annotation) or (path / "dataset.yaml").is_file():
            return False
        return kind_of(annotation).bare or not is_export(path, annotation)
    return path.is_file() or any(mark in name for mark in "*?[")


def is_known(name: str, annotation: str) -> bool:
    """Whether this names a data set of the tables, or one of its domains."""
    return name in _known(annotation)


@cache
def _known(annotation: str) -> dict[str, tuple[str, dict[str, DomainPart]]]:
    """Name -> row of the table and its domains; the domains of a row are names too."""
    known: dict[str, tuple[str, dict[str, DomainPart]]] = {}
    named = KINDS[annotation].named() if annotation in KINDS else {}
    for row, forms in named.items():
        domains = _domains(row, forms[0])
        each = domains | _by_brightness(row, forms[0])
        known |= {domain: (row, {domain: part}) for domain, part in each.items()} | {row: (row, domains)}
    return known


def _domains(name: str, spec: Layout) -> dict[str, DomainPart]:
    """What the name of a data set stands for: all its images, by their folders."""
    return {f"{name}-{place}": DomainPart(place) for place in spec.domains} or {name: DomainPart()}


def _by_brightness(name: str, spec: Layout) -> dict[str, DomainPart]:
    """Parts of these, which are opened only if they are named."""
    return {
        f"{domain}-{look}": part._replace(luma=luma)
        for domain, part in _domains(name, spec).items()
        for look, luma in spec.brightness.items()
    }


def _named_root(name: str, folder: str, data_root: Path | None) -> Path:
    if data_root is None:
        raise ConfigError(f"data set '{name}' needs `data_root`, the folder that holds {folder}/")
    root = data_root / folder
    if not root.is_dir():
        raise DataError(f"folder {root} is missing; put data set '{name}' there or set `data_root` to where it lies")
    return root
