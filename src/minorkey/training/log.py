"""`log.jsonl`: one JSON record a line, in the order of the steps."""

import json
from pathlib import Path
from typing import Any

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
        StorageError: the log cannot be written.
    """
    if not log.is_file():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry["step"] <= step:
            kept.append(line + "\n")
    write_text(log, "".join(kept))
