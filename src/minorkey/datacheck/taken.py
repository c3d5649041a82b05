"""What a folder was taken for, which task it is for, and the shortest command that trains on it."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from minorkey.data.readers.categories import bare_spec
from minorkey.data.readers.exports import is_ours, recognise, recognised_kinds
from minorkey.data.readers.kinds import KINDS
from minorkey.data.readers.locate import split_name
from minorkey.datacheck.guess.names import are_pairs
from minorkey.errors import MinorkeyError
from minorkey.labels.tables import read_yaml
from minorkey.tasks.table import task_settings


def with_task(spec: str, overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings with the task that a folder is for, where it is not said: of label images before boxes."""
    folder = Path(split_name(spec)[0])
    if "task" in overrides or not folder.is_dir():
        return overrides
    with suppress(MinorkeyError):  # it is said where the folder is opened
        kinds = _kinds(folder)
        if kinds:
            return {**overrides, "task": KINDS[kinds[0]].task}
    return overrides


def taken_for(spec: str, annotation: str) -> list[str]:
    """What a folder was taken for and why, a line each; none where it is no folder, or cannot be read."""
    folder = Path(split_name(spec)[0])
    with suppress(MinorkeyError):
        if not folder.is_dir():
            return []
        if is_ours(folder / "dataset.yaml"):
            return [f"{folder}: as {folder / 'dataset.yaml'} says"]
        if KINDS[annotation].bare:
            spec_of = bare_spec(folder)
            told = f"the table {spec_of.table}" if spec_of.table else f"folders {spec_of.images}"
            return [f"{folder} is taken for classified images: {told}"]
        found = recognise(folder, annotation)
        others = [KINDS[kind].task for kind in _kinds(folder) if kind != annotation]
        also = "".join(f" (task={task} reads it too)" for task in others)
        return [f"{folder} is taken for {found.form}: {found.why}{also}"] if found else []
    return []


def train_command(spec: str, task: str, overrides: Mapping[str, Any], splits: Sequence[str]) -> str:
    """The shortest command that trains on a data set and judges what it has learnt.

    Args:
        spec: the data set.
        task: that it is for.
        overrides: settings that it was looked at with.
        splits: those of its that could be opened.
    """
    name, part = split_name(spec)
    source = spec if part or {"train", "all"} & set(splits) or not splits else f"{name}:{splits[0]}"
    kind = next((kind for kind in KINDS.values() if kind.task == task), None)
    drawn = kind is not None and kind.drawn and "all" in splits  # where no split is published, one is drawn to judge on
    judged = not part and (drawn or {"val", "validation", "test"} & set(splits))
    settings = {key: value for key, value in overrides.items() if key in ("label_space", "data_root") and value}
    words = ["minorkey", "train", f"source={source}" if judged else f"source={{data: {source}, validation: 0.1}}"]
    return shlex.join([*words, *task_settings(task), *(f"{key}={value}" for key, value in settings.items())])


def _kinds(folder: Path) -> list[str]:
    """The kinds of annotation that a folder holds, as far as it tells; label images first."""
    file = folder / "dataset.yaml"
    if is_ours(file):
        said = read_yaml(file)
        keys = set(said) if isinstance(said, dict) else set()
        if "boxes" in keys:
            return ["boxes"]
        return ["pixels"] if keys & {"ids", "colours", "legend"} else []
    if kinds := recognised_kinds(folder):
        return kinds
    by_folders = bare_spec(folder).table is None
    return [] if by_folders and are_pairs(entry.name for entry in folder.iterdir()) else ["category"]
