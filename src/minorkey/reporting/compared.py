"""Who is compared with whom on a page: SoMA or the best method, its rival, and what both began with."""

from collections.abc import Sequence
from dataclasses import dataclass

from minorkey.evaluation.scores import DomainRole
from minorkey.reporting.runs import Run
from minorkey.reporting.tables import comparable, is_start, run_labels
from minorkey.tasks.metric import Metric

SOMA, FULL, FROZEN = "soma", "full", "frozen"


@dataclass(frozen=True, eq=False)
class Entry:
    """A method that can be compared."""

    label: str
    run: Run
    mean: float  # unseen mean

    @property
    def metric(self) -> Metric:
        """What its scores are."""
        return self.run.scores.metric

    @property
    def score(self) -> str:
        """The mean with the name of the metric: `43.2 % mIoU`."""
        return f"{self.metric.text(self.mean)} {self.metric.name}"

    @property
    def name(self) -> str:
        """The label within a sentence."""
        plain = self.label[0].lower() + self.label[1:] if self.label.partition(" ")[0].istitle() else self.label
        return f"the {plain}" if is_start(self.run.scores) or self.run.scores.method == FROZEN else plain

    def domains(self, role: DomainRole) -> list[str]:
        """Those that it was trained on (`source`), or those never seen (`unseen`)."""
        table = self.run.scores
        return [score.domain for score in (table.unseen if role == "unseen" else table.home)]


@dataclass(frozen=True)
class Compared:
    """Who is compared with whom: the subject and its rival, both of them with what they started from."""

    entries: Sequence[Entry]  # the best unseen mean first
    subject: Entry  # SoMA, else the best
    rival: Entry  # full fine-tuning, else the best of the others
    baseline: Entry | None  # the frozen start, or a frozen backbone

    @property
    def source(self) -> list[str]:
        """The domains that all were trained on, as far as they were judged."""
        return self.subject.domains("source")

    @property
    def unseen(self) -> list[str]:
        """The domains that none has seen."""
        return self.subject.domains("unseen")

    @property
    def home(self) -> str:
        """The source in words."""
        return " and ".join(self.source)


def compare(runs: Sequence[Run]) -> Compared | None:
    """The comparable methods with their parts; None where there are not two.

    Args:
        runs: one for each method, as `by_method` gives them.
    """
    entries = ranked(runs)
    if len(entries) < 2:
        return None
    baseline = _baseline(entries)
    beside = [entry for entry in entries if entry is not baseline]
    trained = [entry for entry in beside if not is_start(entry.run.scores)] or beside
    subject = next((entry for entry in trained if entry.run.scores.method == SOMA), trained[0])
    others = [entry for entry in trained if entry is not subject]
    rival = next((entry for entry in others if entry.run.scores.method == FULL), others[0] if others else baseline)
    assert rival is not None, "two entries are a subject and another"
    return Compared(entries, subject, rival, baseline)


def ranked(runs: Sequence[Run]) -> list[Entry]:
    """The comparable methods, the best unseen mean first."""
    tables = [run.scores for run in runs]
    entries = [
        Entry(label, run, run.scores.unseen_mean.score)
        for label, run, same in zip(run_labels(tables), runs, comparable(tables), strict=True)
        if same and run.scores.unseen_mean
    ]
    return sorted(entries, key=lambda entry: entry.metric.rank(entry.mean))


def _baseline(entries: Sequence[Entry]) -> Entry | None:
    starts = [entry for entry in entries if is_start(entry.run.scores)]
    frozen = [entry for entry in entries if entry.run.scores.method == FROZEN]
    return next(iter([*starts, *frozen]), None)
