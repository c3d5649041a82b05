"""The text of a saved configuration, and whether it is still that of the run: nothing cut off, nothing edited.

Its first line is a checksum of the values below, but for those that say where things are: these may differ where a run
has moved to. A finished training and every checkpoint hold the same, so a line that is gone hides nothing.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import yaml

from minorkey.errors import ConfigError, StorageError
from minorkey.system.run_folder import RunFolder
from minorkey.system.sealed import digest, read_sealed

PLACES = frozenset(
    {"data_root", "data_cache", "backbone.name", "training.device", "training.workers", "training.track"}
)
"""Keys that say where something is, is done or is shown; the weights of the backbone are compared by themselves."""

STAMP = "# sha256 {} of all values here but places: a run is not resumed with others. In a preset, delete this line.\n"
STAMPED = re.compile(r"# sha256 ([0-9a-f]{64}) ")

LAST = "seed"
"""The last key of every configuration that was ever saved."""

CONFIG = "config_sha256"
"""Key of the checksum in the record of a finished training."""


def config_text(values: Mapping[str, Any]) -> str:
    """The values of a configuration as YAML with their checksum."""
    text = yaml.safe_dump(values, sort_keys=False)
    return STAMP.format(config_sha256(yaml.safe_load(text))) + text


def config_sha256(values: Mapping[str, Any]) -> str:
    """The checksum of what decides the outcome of a run."""
    return digest(_deciding(values))


def differing_keys(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The keys, as `training.steps`, in which two configurations differ; not those of places."""
    first, second = _deciding(ours), _deciding(theirs)
    return sorted(key for key in first.keys() | second.keys() if first.get(key, ...) != second.get(key, ...))


def check_saved(folder: RunFolder, text: str, values: Any) -> None:
    """Check that the configuration in a run folder is as the run saved it.

    Args:
        folder: of the run, or one with a configuration alone.
        text: of `RunFolder.config`.
        values: what that holds.

    Raises:
        ConfigError: it was cut or edited.
        StorageError: the record of the finished training is damaged.
    """
    if not isinstance(values, Mapping):
        return  # which is said where it is read
    stamp = STAMPED.match(text)
    if stamp is None and folder.started and LAST not in values:
        raise ConfigError(
            f"'{folder.config}' is cut: '{LAST}', its last key, is missing; copy it from where it is whole"
        )
    known = [stamp[1]] if stamp else []
    if folder.cost.is_file() and (of_training := folder.record().values.get(CONFIG)):
        known.append(of_training)
    found = config_sha256(values) if known else None
    if any(sha256 != found for sha256 in known):
        recorded = _recorded(folder)
        raise ConfigError(changed(folder, differing_keys(recorded, values) if recorded else []))


def _recorded(folder: RunFolder) -> Mapping[str, Any]:
    """The configuration in the newest checkpoint that has one."""
    for state in sorted(folder.checkpoints.glob("step-*/state.json"), reverse=True):
        with suppress(StorageError):
            if recorded := read_sealed(state).values.get("config"):
                return recorded
    return {}


def changed(folder: RunFolder, keys: list[str]) -> str:
    """The line about a configuration that is not that of its run."""
    named = f" in {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}" if keys else ""
    return (
        f"'{folder.config}' is not as its run saved it, but was cut, edited or replaced{named}; change it back, or "
        "start another run in another --out (from a copy of the file under another name)"
    )


def _deciding(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in _leaves(values) if key not in PLACES}


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value
