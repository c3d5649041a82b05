"""`log.jsonl`: one JSON record a line, in the order of the steps."""

import json
from pathlib import Path
from typing import Any

from minorkey.errors import StorageError
from minorkey.system.reading import json_lines, reading, shown
from minorkey.system.regular import regular_bytes
from minorkey.system.storage import storage_errors, write_text


def append(log: Path, record: dict[str, Any]) -> None:
    """Add a record.

    Raises:
        StorageError: the log cannot be written.
    """
    with storage_errors(log), log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def trim_log(log: Path, step: int) -> None:
    """Drop the log lines after `step`, and a torn last line, before a run goes on from there.

    Raises:
        StorageError: the log is damaged before its last line, or cannot be written.
    """
    if log.is_file():
        kept = [json.dumps(record) + "\n" for record in read_log(log) if record["step"] <= step]
        write_text(log, "".join(kept))


def read_log(log: Path) -> list[dict[str, Any]]:
    """The records of a log, each with its `step`, without a torn last line; none where there is no such file.

    Raises:
        StorageError: a line is no record; which.
    """
    if not log.is_file():
        return []
    with reading(f"'{log}'", "delete that line", StorageError):
        records, _ = json_lines(regular_bytes(log))
        for number, record in enumerate(records, start=1):
            if not isinstance(record.get("step"), int):
                raise ValueError(f"record {number} is {shown(record)}, expected one with its step")
        return records
