"""What goes wrong with a target while a training goes on, reported once each: broken images, classes that are lost."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from minorkey.regimes.health import collapse_warning, collapsed_class, vanished_classes, vanished_warning
from minorkey.system.processes import from_main, gathered_objects
from minorkey.system.storage import new_folder
from minorkey.training.checkpoint import checkpoints
from minorkey.training.log import read_log

GOOD = "good-"
"""Start of the name of a checkpoint that is kept for good: the last one before a collapse."""


class Incidents:
    """Collects what a step notes and reports it when the next line is logged.

    Args:
        classes: names of the K classes.
        console: where it is reported.
        settled: step before which pseudo-labels of a single class are no collapse: a fresh head may well predict one.
    """

    def __init__(self, classes: Sequence[str], console: Console, settled: int = 0) -> None:
        self.classes, self.console, self.settled = classes, console, settled
        self._collapsed = False
        self._problems: list[str] = []
        self._reported: set[str] = set()
        self._vanished: set[str] = set()

    def recall(self, log: Path) -> None:
        """Report nothing again that is in the log of a run that goes on."""
        records = from_main(lambda: read_log(log))
        self._reported |= {record["skipped"] for record in records if "skipped" in record}
        self._collapsed |= any("collapse" in record for record in records)
        self._vanished |= {record["vanished"] for record in records if "vanished" in record}

    def note(self, problems: Iterable[str]) -> None:
        """Take in the problems of a batch of this process."""
        self._problems += problems

    def report(self, step: int, signals: Mapping[str, Any], saved: Path) -> list[dict[str, Any]]:
        """Report what is new in any process; one log record per incident. All processes call this at one time.

        Args:
            step: of the log line.
            signals: their means since the last one.
            saved: folder of the checkpoints; before a collapse is reported, the last of them is kept for good.
        """
        problems = dict.fromkeys(problem for each in gathered_objects(self._problems) for problem in each)
        self._problems = []
        records = [{"step": step, "skipped": problem} for problem in problems if problem not in self._reported]
        self._reported |= problems.keys()
        for record in records:
            self._print(f"skipped: {record['skipped']}")
        pseudo, source = signals.get("pseudo_classes", []), signals.get("source_classes", [])
        if step <= self.settled or self._collapsed:
            return records
        if (collapsed := collapsed_class(pseudo, source)) is None:
            return records + self._losses(step, pseudo, source)
        self._collapsed = True
        name = self.classes[collapsed]
        kept = from_main(lambda: keep_last(saved))
        self._print(collapse_warning(name, pseudo[collapsed], source[collapsed], kept))
        return [*records, {"step": step, "collapse": name}]

    def _losses(self, step: int, pseudo: Sequence[float], source: Sequence[float]) -> list[dict[str, Any]]:
        """Report which classes have vanished that had not before; a record each."""
        lost = {self.classes[place]: place for place in vanished_classes(pseudo, source)}
        new = {name: place for name, place in lost.items() if name not in self._vanished}
        self._vanished |= new.keys()
        for name, place in new.items():
            self._print(vanished_warning(name, pseudo[place], source[place]))
        return [{"step": step, "vanished": name} for name in new]

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)


def keep_last(saved: Path) -> Path | None:
    """Copy the last checkpoint so that no later one replaces it; its new path, or None where there is none.

    Raises:
        StorageError: it cannot be written.
    """
    last = checkpoints(saved)
    if not last:
        return None
    kept = saved / f"{GOOD}{last[-1].name}"
    with new_folder(kept) as new:
        shutil.copytree(last[-1], new, dirs_exist_ok=True)
    return kept
