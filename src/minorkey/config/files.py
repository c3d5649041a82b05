"""Configurations from presets and files, whoever wrote them, and back into files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minorkey.config.run_config import DATA, RunConfig, checked
from minorkey.config.values import overridden, preset_values
from minorkey.data.readers.own import outside_parts
from minorkey.errors import ConfigError
from minorkey.labels.tables import read_yaml
from minorkey.system.outside import given_by_user, written_by_others
from minorkey.system.run_folder import RunFolder
from minorkey.system.saved_config import check_saved, config_text
from minorkey.system.storage import write_text
from minorkey.system.unforeseen import public


@public
def resolve(preset: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration of a preset (or YAML file) with overrides.

    Args:
        preset: name of a shipped preset, or path of a YAML file; None starts from the defaults. A `config.yaml` is
            that of a run, as `load_config` reads it.
        overrides: nested values, as in the file, which replace those of the preset.

    Raises:
        ConfigError: unknown preset, key or name (closest one offered), or a value that is out of range.
    """
    file = Path(preset or "")
    if file == RunFolder(file.parent).config:  # it came with a run, whoever trained that
        return load_config(file, overrides)
    return checked(preset_values(preset, overrides))


def save_config(config: RunConfig, path: Path) -> None:
    """Write a resolved configuration as YAML, every key of it, with a checksum."""
    write_text(path, config_text(saved_values(config)), ordered=True)


def saved_values(config: RunConfig) -> dict[str, Any]:
    """The values of a configuration as they are saved."""
    return config.model_dump(mode="json")


def completed(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values that a run saved, with the keys that its version did not know yet as they are by default."""
    try:
        return saved_values(checked(saved))
    except ConfigError:  # which is said where the configuration itself is read
        return saved


def load_config(path: Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a configuration that `save_config` wrote, wherever the run is from, with overrides of the user's.

    Raises:
        ConfigError: the file is missing or wrong, is not as its run saved it, or names something from outside that the
            user has not allowed.
        StorageError: the record of the run's finished training, which answers for it, is damaged.
    """
    given_by_user(_names_in(overrides))
    folder = RunFolder(path.parent)
    if path == folder.config and path.is_file():
        values = read_yaml(path)
        check_saved(folder, path.read_text(encoding="utf-8-sig"), values)
    with written_by_others(path):
        return checked(preset_values(path, overrides))


def config_of_others(values: Mapping[str, Any], file: Path, overrides: Mapping[str, Any]) -> RunConfig:
    """The configuration that a file of anyone's holds, with overrides of the user's; see `load_config`.

    Raises:
        ConfigError: a value is wrong, or names something from outside that the user has not allowed.
    """
    given_by_user(_names_in(overrides))
    with written_by_others(file):
        return checked(overridden(values, overrides))


def _names_in(values: Any, key: str | None = None) -> Iterator[str]:
    """What could be outside names in nested values: whole texts, or parts of the names of data sets."""
    if isinstance(values, Mapping):
        for inner, value in values.items():
            yield from _names_in(value, key or inner)
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _names_in(value, key)
    elif isinstance(values, str):
        yield from (name for _, name in outside_parts(values)) if key in DATA else [values]
