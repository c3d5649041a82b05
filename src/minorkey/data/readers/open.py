"""From the name of a data set, as a user writes it, to its reader."""

from pathlib import Path

from minorkey.data.readers.folders import FolderReader
from minorkey.data.readers.reader import Reader, Role
from minorkey.data.readers.spec import DatasetSpec, named_datasets
from minorkey.data.readers.world import WorldOptions, open_world
from minorkey.errors import ConfigError, DataError, unknown
from minorkey.labels import LabelSpace
from minorkey.labels.tables import parse_row, read_yaml

DEFAULT_SPLIT: dict[Role, str] = {"source": "train", "unseen": "val"}
WORLD = "world"


def open_dataset(
    spec: str,
    *,
    role: Role,
    label_space: LabelSpace,
    data_root: Path | None = None,
    options: WorldOptions | None = None,
) -> Reader:
    """Open a data set.

    Args:
        spec: `world[:domain]`, a known data set as `name[:split]`, or a folder that holds a `dataset.yaml` as
            `path[:split]`. The split is `train` for a source and `val` for an unseen domain unless said; the
            domain of the world is `clear`.
        role: whether it is trained or judged on.
        label_space: the classes of the run; labels are mapped to it while reading.
        data_root: where known data sets lie, each in a folder of its name.
        options: seed, size and number of scenes of the built-in world.

    Raises:
        ConfigError: unknown name, domain or key, or a class that the label space has no place for.
        DataError: a folder, split, image or label file is missing.
    """
    name, part = _split_spec(spec)
    if name == WORLD:
        return open_world(part or "clear", role, options or WorldOptions(), label_space)
    root, dataset = _locate(name, data_root)
    split = part or DEFAULT_SPLIT[role]
    return FolderReader(root, split, dataset, label_space, name=f"{name}:{split}")


def _split_spec(spec: str) -> tuple[str, str]:
    """`name:part` as (name, part); a path may hold colons itself, so one that exists is taken whole."""
    if Path(spec).is_dir() or ":" not in spec:
        return spec, ""
    name, _, part = spec.rpartition(":")
    return name, part


def _locate(name: str, data_root: Path | None) -> tuple[Path, DatasetSpec]:
    """The folder of a data set and what is known of it."""
    known = named_datasets()
    if name in known:
        return _named_root(name, data_root), known[name]
    root = Path(name)
    if not root.is_dir():
        if root.name == name:
            choices = unknown("data set", name, [*known, WORLD])
            raise ConfigError(f"{choices}, or the path of a folder with a dataset.yaml")
        raise DataError(f"folder {root} is missing; expected images/, labels/ and dataset.yaml in it")
    file = root / "dataset.yaml"
    if not file.is_file():
        raise DataError(
            f"{file} is missing; write one with the class of every id, e.g. `ids: {{0: road, 255: ignore}}`"
        )
    return root, parse_row(DatasetSpec, read_yaml(file), str(file))


def _named_root(name: str, data_root: Path | None) -> Path:
    if data_root is None:
        raise ConfigError(f"data set '{name}' needs `data_root`, the folder that holds {name}/")
    root = data_root / name
    if not root.is_dir():
        raise DataError(f"folder {root} is missing; put data set '{name}' there or set `data_root` to where it lies")
    return root
