"""What came of runs: one small JSON each, in one folder for a setting."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Self

RATES = "rates"
"""Folder of the runs that choose rates."""

CURVE = "curve"
"""Folder of the runs at rates that were not chosen, judged on unseen domains when all else is done."""

EQUAL = ("steps", "batch", "crop", "weights", "overrides", "head_rate", "preset")
"""What all runs of a setting share: its budget, and (from when they were first noted) the pretrained weights, what was
asked otherwise than the setting has it, the head's rate, and the contents of a preset that is a file."""

UNDER = "rate_under"
"""The corruptions under which rates were chosen, too; not noted by runs from before there were any."""


@dataclass(frozen=True)
class Job:
    """A run: a way to adapt, at a rate, in a fold, with a seed."""

    way: str
    rate: float
    fold: str  # the domain that is left out; of a setting with one fold its name
    seed: int
    unseen: bool  # whether unseen domains are judged; False: a rate is being chosen
    chosen: bool = True  # whether the rate, where unseen domains are judged at it, is the one that was chosen

    @property
    def file(self) -> Path:
        """Where its result lies, in the folder of the setting."""
        name = "".join(c for c in self.way if c not in ",'").replace(" ", "-")
        if self.unseen and self.chosen:
            return Path(f"{name}/{self.fold}-{self.seed}.json")
        return Path(f"{CURVE if self.unseen else RATES}/{name}/{self.rate:g}-{self.fold}-{self.seed}.json")


@dataclass(frozen=True)
class Record:
    """A finished run. Scores are fractions."""

    way: str
    rate: float
    fold: str
    seed: int
    validation: float  # mean over the source domains, on their validation images; 0 if the run diverged
    scores: Mapping[str, float] = field(default_factory=dict)  # of unseen domains; none where a rate was chosen
    equal: Mapping[str, str] = field(default_factory=dict)  # what runs that are compared have in common

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From a result file; those of one domain left out may have its score alone."""
        left_out = values.get("left_out", "")
        scores = values.get("scores") or ({left_out: values["score"]} if "score" in values else {})
        validation = fmean(values["validation"].values()) if values["validation"] else 0.0
        equal = {key: str(values[key]) for key in EQUAL if key in values} | {UNDER: str(values.get(UNDER, []))}
        fold = values.get("fold", left_out)
        return cls(values["way"], values["rate"], fold, values["seed"], validation, scores, equal)

    def is_of(self, job: Job) -> bool:
        """Whether this is what came of the run."""
        return (self.way, self.rate, self.fold, self.seed) == (job.way, job.rate, job.fold, job.seed)


class Results:
    """The results in a folder, which other processes may add to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._read = folder, dict[Path, Record]()

    def read(self, job: Job) -> Record | None:
        """What came of a run; None: it is not there, or at another rate, from before that one was chosen."""
        file = self.folder / job.file
        if file not in self._read and file.is_file():
            self._read[file] = Record.of(json.loads(file.read_text()))
        record = self._read.get(file)
        return record if record and record.is_of(job) else None

    def write(self, job: Job, result: Mapping[str, Any]) -> None:
        """Keep what came of a run, whole or not at all."""
        file = self.folder / job.file
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".part")
        temporary.write_text(json.dumps(result, indent=1) + "\n")
        temporary.replace(file)
        self._read.pop(file, None)

    def choosing(self) -> Iterator[Record]:
        """The runs that choose rates."""
        return self._all(f"{RATES}/*/*.json")

    def unequal(self, wanted: Mapping[str, str]) -> str:
        """What runs that are there have otherwise than wanted, or than one another; empty: nothing.

        Args:
            wanted: values of some of `EQUAL`.
        """
        seen = [(key, value) for record in self._all("**/*.json") for key, value in record.equal.items()]
        first = {**dict(reversed(seen)), **wanted}
        return next((f"{key} {value} in place of {first[key]}" for key, value in seen if value != first[key]), "")

    def _all(self, pattern: str) -> Iterator[Record]:
        return (Record.of(json.loads(file.read_text())) for file in sorted(self.folder.glob(pattern)))
