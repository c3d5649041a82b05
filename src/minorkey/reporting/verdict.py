"""What the numbers say, in plain words, also where they do not flatter."""

from collections.abc import Sequence
from dataclasses import dataclass

from minorkey.evaluation.bootstrap import Difference, paired_difference
from minorkey.reporting.runs import Run
from minorkey.reporting.tables import comparable, method_name, run_labels
from minorkey.tasks.metric import Metric

SOMA = "soma"
ONE_RUN = "Each row is one training run: the intervals cover the choice of test images, not the randomness of training."
SEVERAL_RUNS = (
    "Runs of one method are judged each on its own, so a method with more runs has more chances to come first."
)


@dataclass(frozen=True)
class Verdict:
    """One sentence, and what must be said with it."""

    headline: str
    details: list[str]


@dataclass(frozen=True)
class _Entry:
    label: str
    run: Run
    mean: float  # unseen mean

    @property
    def metric(self) -> Metric:
        return self.run.scores.metric

    @property
    def score(self) -> str:
        """The mean with the name of the metric: `43.2 % mIoU`."""
        return f"{self.metric.text(self.mean)} {self.metric.name}"

    def lead(self, other: "_Entry") -> str:
        """How far its mean is from that of a run behind it: `1.5 points`."""
        return self.metric.difference(self.mean - other.mean)


def verdict(runs: Sequence[Run]) -> Verdict:
    """Judge the comparable runs by their unseen mean."""
    entries = _ranked(runs)
    if not entries:
        return Verdict("No unseen domain was judged, so nothing can be said about generalization.", [])
    if len(entries) == 1:
        return _single(entries[0])
    best, second = entries[:2]
    over = f"over {_count(len(best.run.scores.unseen), 'unseen domain')}"
    difference = unseen_difference(best.run, second.run)
    if difference is not None and not difference.excludes_zero:
        headline = f"No method is shown to be best {over}: {best.label} {best.score}, {second.label} "
        headline += f"{second.metric.text(second.mean)}."
    else:
        where = "above" if best.metric.higher_is_better else "below"
        headline = f"{best.label} has the best mean {over}: {best.score}, {best.lead(second)} {where} {second.label}."
    details = [_certainty(best, second), *_about_soma(entries), *_about_source(entries), ONE_RUN]
    if len({entry.run.scores.method for entry in entries}) < len(entries):
        details.append(SEVERAL_RUNS)
    return Verdict(headline, details)


def unseen_difference(a: Run, b: Run) -> Difference | None:
    """Paired bootstrap of the unseen mean of `a` minus that of `b`; `None` where they cannot be paired.

    Where all domains have equally many images, image i is drawn for all of them at once. That is right if the
    domains show the same scenes, and otherwise adds no bias.
    """
    if a.evidence is None or b.evidence is None:
        return None
    names = [score.domain for score in a.scores.unseen]
    if any(name not in a.evidence or name not in b.evidence for name in names):
        return None
    first, second = ([run.evidence[name] for name in names] for run in (a, b) if run.evidence)
    if [x.shape for x in first] != [x.shape for x in second]:
        return None
    shared = len({evidence.shape[0] for evidence in first}) == 1
    return paired_difference(first, second, shared_scenes=shared)


def _ranked(runs: Sequence[Run]) -> list[_Entry]:
    tables = [run.scores for run in runs]
    entries = [
        _Entry(label, run, run.scores.unseen_mean.score)
        for label, run, same in zip(run_labels(tables), runs, comparable(tables), strict=True)
        if same and run.scores.unseen_mean
    ]
    return sorted(entries, key=lambda entry: entry.metric.rank(entry.mean))


def _single(entry: _Entry) -> Verdict:
    mean = entry.run.scores.unseen_mean
    assert mean is not None
    low, high = map(entry.metric.number, mean.interval)
    headline = (
        f"{entry.label} reaches {entry.score} on average over "
        f"{_count(len(entry.run.scores.unseen), 'unseen domain')} (95 % interval {low} to {high})."
    )
    return Verdict(headline, ["One run alone says nothing about which method is better."])


def _certainty(best: _Entry, other: _Entry) -> str:
    difference = unseen_difference(best.run, other.run)
    if difference is None:
        return (
            "The runs have no per-image results in common, so whether the difference is more than the choice "
            "of test images was not tested."
        )
    low, high = (best.metric.number(bound, sign="+") for bound in (difference.low, difference.high))
    span = f"{low} to {high} {best.metric.points}".rstrip().replace("-", "−")
    if difference.excludes_zero:
        return (
            f"On the same images the difference to {other.label} is {span} (95 % paired bootstrap): "
            "the choice of test images does not explain it."
        )
    return (
        f"On the same images the difference to {other.label} is {span} (95 % paired bootstrap), which "
        "includes zero: these test images do not tell the two apart."
    )


def _about_soma(entries: Sequence[_Entry]) -> list[str]:
    soma = next((entry for entry in entries if entry.run.scores.method == SOMA), None)
    best = entries[0]
    if soma is None or soma is best:
        return []
    sentence = f"{method_name(SOMA)} is not the best here: {soma.score}, {best.lead(soma)} behind {best.label}."
    return [sentence] if soma is entries[1] else [sentence + " " + _certainty(best, soma)]


def _about_source(entries: Sequence[_Entry]) -> list[str]:
    """On the source domains the ranking is often another one."""
    metric, means = entries[0].metric, {}
    for entry in entries:
        source = [score.score for score in entry.run.scores.domains if score.role == "source"]
        if source:
            means[entry.label] = sum(source) / len(source)
    if not means:
        return []
    top = min(means, key=lambda label: metric.rank(means[label]))
    return [f"On the source itself {top} is best, with {metric.text(means[top])} {metric.name}."]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
