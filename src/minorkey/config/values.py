"""The nested values of a configuration before they are checked: of presets, of files, of the command line."""

import re
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from minorkey.config.run_config import task_of
from minorkey.errors import ConfigError, unknown
from minorkey.labels.tables import read_yaml, shipped_yaml
from minorkey.system.reading import reading, shown, yaml_of
from minorkey.tasks.table import TASKS, task_named

NAMED = ("backbone", "head", "method", "teacher")
"""Sections that may be given as a bare name: `method: soma` is `method: {name: soma}`."""

WHOLE = ("label_space",)
"""Keys whose values are replaced as they are, and not key by key."""

OCTAL = re.compile(r"[-+]?0[0-9_]+")
"""Numbers that YAML counts by eight."""


def presets() -> list[str]:
    """Names of the shipped presets."""
    folder = files("minorkey") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def preset_values(preset: str | Path | None, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values of a preset or a YAML file, or none, with overrides.

    Raises:
        ConfigError: there is no such preset, or the file holds no values.
    """
    over = _fit_batch(overrides or {}, given=True)
    values = _read_preset(preset, over.get("task")) if preset is not None else {}
    return overridden(_fit_batch(values), over)


def overridden(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Values with others in their place, key by key; sections that were given as a bare name are in full."""
    return _merge(_expand(values), _expand(overrides))


def parse_overrides(arguments: Sequence[str], options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`["training.steps=10", "method=lora"]` as nested values; the values are YAML.

    Args:
        arguments: `key.sub=value` each; later ones win.
        options: values that have options of their own on the command line.

    Raises:
        ConfigError: an argument has no `=`, or its value is no YAML.
    """
    nested = overridden({}, options or {})
    for argument in arguments:
        path, equals, text = argument.partition("=")
        if not equals or not path:
            raise ConfigError(f"'{argument}' is no override; expected key.sub=value, e.g. training.steps=100")
        with reading(f"the value in {shown(argument)}", "quote text with special characters", ConfigError):
            value = yaml_of(text)
        if OCTAL.fullmatch(text.strip()) or ("#" in text and "#" not in str(value)):
            read = f"the value in {shown(argument)} is read as {shown(value)}"
            raise ConfigError(f"{read}; put it in quotes, or leave out zeros in front of a number")
        keys = path.split(".")
        leaf: dict[str, Any] = value
        for key in reversed(keys):
            leaf = {key: leaf}
        nested = _merge(_expand(nested), _expand(leaf), whole=set(WHOLE) - set(keys[:-1]))
    return nested


def _read_preset(preset: str | Path, task: Any = None) -> dict[str, Any]:
    name = str(preset)
    if name.endswith((".yaml", ".yml")):
        content = read_yaml(Path(name))
    elif name in presets():
        content = shipped_yaml(Path(str(files("minorkey") / "presets" / f"{name}.yaml")))
    else:
        raise ConfigError(unknown("preset", name, presets()) + ", or a path that ends in .yaml")
    if not isinstance(content, dict):
        raise ConfigError(f"'{name}' holds no mapping of keys to values; see `minorkey train --help`")
    return _renewed(content, task)


def _renewed(values: Mapping[str, Any], task: Any = None) -> dict[str, Any]:
    """A file of an earlier version in the keys of this one, without what is of another task than the one asked for.

    Options of self-training had a section for each task, and the momentum of the average was the share of new weights.
    """
    renewed = dict(values)
    training = renewed.get("training")
    if isinstance(training, Mapping) and isinstance(former := training.get("weight_ema_momentum"), (int, float)):
        kept = {key: value for key, value in training.items() if key != "weight_ema_momentum"}
        renewed["training"] = {"average_momentum": 1 - former, **kept}
    task = task or task_of(values)
    if task != task_of(values):
        renewed.pop("self_training", None)  # its keys and defaults are the other task's
    for name in TASKS.shipped:
        options = task_named(name).self_training
        if options is not None and options.former_section in renewed:
            section = renewed.pop(options.former_section)
            renewed |= {"self_training": section} if name == task else {}
    return renewed


def _expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Bare names of the sections that have one, in full."""
    return {k: {"name": v} if k in NAMED and isinstance(v, str) else v for k, v in values.items()}


def _fit_batch(values: Mapping[str, Any], given: bool = False) -> dict[str, Any]:
    """`training.batch_size: auto` as the key for it, so that the number of a preset stays what is halved.

    A number that is `given` in place of what a preset says is meant as it is.
    """
    training = values.get("training")
    if not isinstance(training, Mapping) or "batch_size" not in training:
        return dict(values)
    if training["batch_size"] != "auto":
        return {**values, "training": {"fit_batch": False, **training}} if given else dict(values)
    rest = {key: value for key, value in training.items() if key != "batch_size"}
    return {**values, "training": {**rest, "fit_batch": True}}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any], whole: Collection[str] = WHOLE) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping) and key not in whole
        merged[key] = _merge(cast(Mapping[str, Any], old), value, whole) if both else value
    return merged
