"""What a run with a target left behind while it trained: the lines of its log and its pictures, round by round."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minorkey.reporting.runs import Place, Run, read_log
from minorkey.system.run_folder import RunFolder

SIGNALS = {
    "confidence": "confidence of the teacher",
    "kept": "{things} kept",
    "agreement": "student agrees with teacher",
}
"""Shares that are logged beside the losses of a run with a target, and their titles; things are pixels, or others."""
NOT_LOSSES = {"step", "loss", "lr", "images_per_second", "memory_mb", "seconds", "loss_scale", "retried", *SIGNALS}


@dataclass(frozen=True)
class LogPart:
    """A round, or the whole of a run without rounds."""

    name: str  # empty where the run has no rounds
    begin: int  # steps of the rounds before it
    log: list[dict[str, Any]]
    snapshots: dict[int, dict[Place, Path]] = field(repr=False)  # step within the part -> folder of each image

    @property
    def length(self) -> int:
        """Its steps, as far as they were logged."""
        return max([record.get("step", 0) for record in self.log] + list(self.snapshots), default=0)

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps `(N,)`, counted over all rounds, and what was logged as `name`, `(N,)` or `(N, K)`."""
        logged = [record for record in self.log if name in record]
        return np.array([self.begin + record["step"] for record in logged]), np.array([r[name] for r in logged])

    def collapses(self) -> dict[str, int]:
        """Class -> the first step, within the part, at which it had swallowed the others."""
        steps: dict[str, int] = {}
        for record in self.log:
            if "collapse" in record:
                steps.setdefault(record["collapse"], record["step"])
        return steps

    def skipped(self) -> set[str]:
        """What was left out because it could not be read, a line each."""
        return {record["skipped"] for record in self.log if "skipped" in record}


def read_parts(run: Run) -> list[LogPart]:
    """The rounds of a run, or the run as one part; empty where it had no target.

    Raises:
        DataError: A log of a round is broken.
    """
    rounds = sorted((path for path in run.folder.glob("rounds/*") if path.name.isdecimal()), key=lambda p: int(p.name))
    names = ["warm-up", *(f"round {number}" for number in range(1, len(rounds) + 1))] if rounds else [""]
    for folder in rounds:
        RunFolder(folder).check_history()
    logs = [*(read_log(RunFolder(folder).log) for folder in rounds), run.log]
    parts: list[LogPart] = []
    for name, log, folder in zip(names, logs, [*rounds, run.folder], strict=True):
        begin = parts[-1].begin + parts[-1].length if parts else 0
        parts.append(LogPart(name, begin, log, _find_snapshots(RunFolder(folder).pseudo_label_pictures)))
    adapted = any(part.snapshots or part.curve("confidence")[0].size for part in parts)
    return parts if adapted else []


def series(parts: Sequence[LogPart], name: str) -> np.ndarray:
    """What was logged as `name` over all parts, `(N,)` or `(N, K)`."""
    found = [values for part in parts if (values := part.curve(name)[1]).size]
    return np.concatenate(found) if found else np.empty(0)


def loss_names(parts: Sequence[LogPart]) -> list[str]:
    """The losses that were logged by name, in the order of their first appearance."""
    lines = [record for part in parts for record in part.log if "loss" in record]
    numbers = dict.fromkeys(name for record in lines for name, value in record.items() if isinstance(value, float))
    return [name for name in numbers if name not in NOT_LOSSES]


def _find_snapshots(root: Path) -> dict[int, dict[Place, Path]]:
    """`step-0000100/<domain>/<key>/image.png`, whose key may hold slashes."""
    found: dict[int, dict[Place, Path]] = {}
    for image in sorted(root.glob("step-*/*/**/image.png")):
        step, domain, *key = image.parent.relative_to(root).parts
        found.setdefault(int(step.removeprefix("step-")), {})[domain, "/".join(key)] = image.parent
    return found
