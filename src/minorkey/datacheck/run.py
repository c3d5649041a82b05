"""The check itself."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from minorkey.data.records import Record, evenly_spread, read_records
from minorkey.datacheck.findings import Check, findings, suspicions
from minorkey.datacheck.shared import shared_content
from minorkey.datacheck.taken import taken_for, train_command, with_task
from minorkey.datacheck.targets import CheckTarget, is_data_set, open_target
from minorkey.system.storage import cache_folder

Progress = Callable[[Iterable[Record], str, int], Iterable[Record]]
"""`(records, name of the data set, how many)`: the same records, shown as they come."""


def check(
    target: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    images: int | None = None,
    workers: int = 0,
    progress: Progress = lambda records, name, count: records,
) -> tuple[Check, CheckTarget]:
    """Look through the data of a training.

    Args:
        target: a preset or YAML file, the folder of a run, or a data set.
        overrides: nested values of the configuration, e.g. `data_root`, `label_space`.
        images: how many of each data set, evenly spread; None looks at all.
        workers: processes that read; 0 reads in this one.
        progress: shows how far the reading is.

    Returns:
        what was found, and the data sets it was found in, in the order of `Check.data`.

    Raises:
        ConfigError: the configuration is not valid. Faults of the data are not raised.
        StorageError: the counts cannot be kept in the folder MINORKEY_CACHE.
    """
    alone, overrides = is_data_set(target), overrides or {}
    overrides = with_task(target, overrides) if alone else overrides
    found = open_target(target, overrides)
    data = []
    for opened in found.opened:
        reader = opened.reader
        chosen = evenly_spread(len(reader), len(reader) if images is None else images)
        records = read_records(
            reader,
            found.space,
            task=found.task,
            indices=chosen,
            workers=workers,
            cache=cache_folder(),
            own_classes=True,
            anew=True,  # files may have changed since
        )
        data.append(findings(opened, list(progress(records, reader.name, len(chosen))), found.space))
    shared = shared_content([opened.reader for opened in found.opened])
    warnings = found.warnings + suspicions(data, found.task.counted) + shared
    taken = taken_for(target, found.task.annotation) if alone else []
    command = ""
    if alone and data and not any(each.problems for each in data) and not found.problems:
        command = train_command(target, found.task.name, overrides, [each.name.rpartition(":")[2] for each in data])
    return Check(target, found.task.name, found.space.name, data, found.problems, warnings, taken, command), found
