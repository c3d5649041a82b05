"""Which domains a run adapted to, and source-only against adapted: what it changed there, class by class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minorkey.data.corruptions import clean_domain, split_corruption
from minorkey.data.readers.locate import split_name
from minorkey.evaluation.bootstrap import Difference, paired_difference
from minorkey.evaluation.scores import DomainScore
from minorkey.reporting.adaptation.log import LogPart, read_parts
from minorkey.reporting.runs import Run, same_images
from minorkey.reporting.tables import measurement, run_labels
from minorkey.tasks.metric import Metric


@dataclass(frozen=True)
class ClassChange:
    """Score of a class without and with adaptation, in the unit of the metric."""

    name: str
    before: float
    after: float

    @property
    def points(self) -> float:
        """What adaptation added."""
        return self.after - self.before


@dataclass(frozen=True)
class Comparison:
    """An adapted run beside one that saw the source alone, in one target domain."""

    domain: str
    adapted: int  # places among the runs
    source_only: int
    metric: Metric
    before: float  # in its unit
    after: float
    same_method: bool
    difference: Difference | None  # None where the runs cannot be paired
    classes: list[ClassChange]  # the largest gain first; those that occur in the labels


def compare_adapted(runs: Sequence[Run], targets: Mapping[int, Sequence[str]]) -> list[Comparison]:
    """Set every adapted run beside the source-only run that is most like it, in every target domain.

    They must have the same backbone and head, and be measured in the same way; where several are, the same method
    counts before the same seed, and the first of the rest is taken.

    Args:
        runs: all of the page.
        targets: place of an adapted run -> its target domains.
    """
    found = []
    for place, domains in targets.items():
        for domain in domains:
            likely = [i for i, run in enumerate(runs) if i not in targets and _fit(run, runs[place], domain)]
            if likely:
                found.append(_compare(runs, place, max(likely, key=lambda i: _likeness(runs[i], runs[place])), domain))
    return found


def _fit(source_only: Run, adapted: Run, domain: str) -> bool:
    if any(_named(source_only, part) != _named(adapted, part) for part in ("backbone", "head")):
        return False
    first, second = (_score(run, domain) for run in (source_only, adapted))
    same = measurement(source_only.scores, ())[:-1] == measurement(adapted.scores, ())[:-1]  # other domains may differ
    if not same or first is None or second is None or first.images != second.images:
        return False
    return same_images((source_only, adapted), domain)


def _likeness(source_only: Run, adapted: Run) -> tuple[bool, bool]:
    first, second = source_only.scores, adapted.scores
    return first.method == second.method, first.training.seed == second.training.seed


def _compare(runs: Sequence[Run], adapted: int, source_only: int, domain: str) -> Comparison:
    before, after = _score(runs[source_only], domain), _score(runs[adapted], domain)
    assert before is not None
    assert after is not None
    metric = runs[adapted].scores.metric
    changes = [
        ClassChange(name, metric.amount(old), metric.amount(new))
        for name, old in before.by_class.items()
        if old is not None and (new := after.by_class[name]) is not None
    ]
    return Comparison(
        domain=domain,
        adapted=adapted,
        source_only=source_only,
        metric=metric,
        before=metric.amount(before.score),
        after=metric.amount(after.score),
        same_method=runs[adapted].scores.method == runs[source_only].scores.method,
        difference=_paired(runs[adapted], runs[source_only], domain),
        classes=sorted(changes, key=lambda change: metric.rank(change.points)),
    )


def _paired(adapted: Run, source_only: Run, domain: str) -> Difference | None:
    if adapted.evidence is None or source_only.evidence is None:
        return None
    first, second = adapted.evidence.get(domain), source_only.evidence.get(domain)
    if first is None or second is None or first.shape != second.shape or first.shape[0] < 2:
        return None
    return paired_difference([first], [second])


def _score(run: Run, domain: str) -> DomainScore | None:
    return next((score for score in run.scores.domains if score.domain == domain), None)


def _named(run: Run, part: str) -> str | None:
    value = run.settings.get(part)
    return value.get("name") if isinstance(value, dict) else value


def target_domains(run: Run, parts: Sequence[LogPart]) -> list[str]:
    """The judged domains of whose kind the run saw images without labels.

    Those of the data sets in the config's `target`, and those of the pictures it kept while it trained.
    """
    pictured = {domain for part in parts for pictures in part.snapshots.values() for domain, _ in pictures}
    named = [entry["data"] if isinstance(entry, dict) else entry for entry in run.settings.get("target", [])]
    judged = [score.domain for score in run.scores.domains]
    return [name for name in judged if name in pictured or any(_holds(data, name) for data in named)]


def _holds(data: str, domain: str) -> bool:
    """Whether a data set, named as in the config, has the domain: `world:night` night, `acdc` acdc-fog and the rest."""
    clean, corruption = split_corruption(data)
    name, part = split_name(clean)
    own = part or "clear" if name == "world" else name.removeprefix("hf:").rstrip("/").rpartition("/")[2]
    found = clean_domain(domain)
    seen_under = domain.removeprefix(found).removeprefix("+")
    return seen_under == (corruption or "") and (found == own or found.startswith(f"{own}-"))


def target_notes(runs: Sequence[Run]) -> list[str]:
    """A sentence per target of runs that are shown together: for which of them it is not unseen.

    Raises:
        DataError: The log of a round is broken.
    """
    labels: dict[str, list[str]] = {}
    for run, label in zip(runs, run_labels([run.scores for run in runs]), strict=True):
        if (parts := read_parts(run)) and (targets := target_domains(run, parts)):
            labels.setdefault(", ".join(targets), []).append(label)
    return [
        f"Images of {target}, without labels, were seen in training by {', '.join(names)}; "
        "to those it is the target, not an unseen domain."
        for target, names in labels.items()
    ]
