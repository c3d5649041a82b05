"""What the numbers say, in plain words, also where they do not flatter: what changed, where, and for whom."""

from collections.abc import Sequence
from dataclasses import dataclass

from minorkey.reporting.differences import Gap, gap
from minorkey.reporting.runs import Run
from minorkey.reporting.tables import comparable, is_start, run_labels
from minorkey.tasks.metric import Metric

SOMA, FULL, FROZEN = "soma", "full", "frozen"
ONE_RUN = "Each row is one training run: the intervals cover the choice of test images, not the randomness of training."
SEEDS = "Intervals over seeds cover the randomness of training, on one and the same set of test images."


@dataclass(frozen=True)
class Verdict:
    """What is to be said first, and what must be said with it."""

    headline: str
    details: list[str]
    certainty: list[str]  # how sure that is


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

    def domains(self, role: str) -> list[str]:
        """Those that it was trained on (`source`), or those never seen (`unseen`)."""
        table = self.run.scores
        scores = table.unseen if role == "unseen" else [s for s in table.domains if s.role == role]
        return [score.domain for score in scores]


@dataclass(frozen=True)
class Cast:
    """Who is compared with whom: the hero and its rival, both of them with what they started from."""

    entries: Sequence[Entry]  # the best unseen mean first
    hero: Entry  # SoMA, else the best
    rival: Entry  # full fine-tuning, else the best of the others
    base: Entry | None  # the frozen start, or a frozen backbone

    @property
    def source(self) -> list[str]:
        """The domains that all were trained on, as far as they were judged."""
        return self.hero.domains("source")

    @property
    def unseen(self) -> list[str]:
        """The domains that none has seen."""
        return self.hero.domains("unseen")

    @property
    def home(self) -> str:
        """The source in words."""
        return " and ".join(self.source)


def cast(runs: Sequence[Run]) -> Cast | None:
    """The comparable methods with their parts; None where there are not two.

    Args:
        runs: one for each method, as `by_method` gives them.
    """
    entries = ranked(runs)
    if len(entries) < 2:
        return None
    base = _base(entries)
    trained = [entry for entry in entries if entry is not base]
    hero = next((entry for entry in trained if entry.run.scores.method == SOMA), trained[0])
    others = [entry for entry in trained if entry is not hero]
    rival = next((entry for entry in others if entry.run.scores.method == FULL), others[0] if others else base)
    assert rival is not None, "two entries are a hero and another"
    return Cast(entries, hero, rival, base)


def verdict(runs: Sequence[Run]) -> Verdict:
    """Judge the comparable methods where they were trained and where they were not.

    Args:
        runs: one for each method, as `by_method` gives them.
    """
    entries = ranked(runs)
    if not entries:
        return Verdict("No unseen domain was judged, so nothing can be said about generalization.", [], [])
    parts = cast(runs)
    if parts is None:
        return _single(entries[0])
    elsewhere = _gap(parts.hero, parts.rival, parts.unseen)
    best = parts.entries[0]
    certainty = [_certainty(parts.hero, parts.rival, elsewhere)]
    if best not in (parts.hero, parts.rival):
        certainty.append(_certainty(parts.hero, best, _gap(parts.hero, best, parts.unseen)))
    certainty.append(SEEDS if any(run.members for run in runs) else ONE_RUN)
    return Verdict(_headline(parts, elsewhere), [*_against_base(parts), *_not_the_best(parts)], certainty)


def ranked(runs: Sequence[Run]) -> list[Entry]:
    """The comparable methods, the best unseen mean first."""
    tables = [run.scores for run in runs]
    entries = [
        Entry(label, run, run.scores.unseen_mean.score)
        for label, run, same in zip(run_labels(tables), runs, comparable(tables), strict=True)
        if same and run.scores.unseen_mean
    ]
    return sorted(entries, key=lambda entry: entry.metric.rank(entry.mean))


def _base(entries: Sequence[Entry]) -> Entry | None:
    starts = [entry for entry in entries if is_start(entry.run.scores)]
    frozen = [entry for entry in entries if entry.run.scores.method == FROZEN]
    return next(iter([*starts, *frozen]), None)


def _single(entry: Entry) -> Verdict:
    mean = entry.run.scores.unseen_mean
    assert mean is not None
    low, high = map(entry.metric.number, mean.interval)
    count, seeds = _count(len(entry.domains("unseen")), "unseen domain"), len(entry.run.seeds)
    kind = f"{seeds} seeds: {low} to {high}" if seeds > 1 else f"95 % interval {low} to {high}"
    headline = f"{entry.label} reaches {entry.score} on average over {count} ({kind})."
    return Verdict(headline, ["One run alone says nothing about which method is better."], [])


def _headline(parts: Cast, elsewhere: Gap) -> str:
    hero, rival = parts.hero, parts.rival
    mean = "" if len(parts.unseen) == 1 else f", mean of {len(parts.unseen)}"
    scores = f"{hero.score} against {rival.metric.text(rival.mean)}{mean}"
    if elsewhere.direction in ("ahead", "behind"):
        size = hero.metric.difference(elsewhere.value)
        stands = "ahead of" if elsewhere.direction == "ahead" else "behind"
        first = f"{hero.name} is {size} {stands} {rival.name}: {scores}"
    elif elsewhere.direction == "level":
        first = f"{hero.name} and {rival.name} cannot be told apart: {scores}"
    else:
        first = f"whether {hero.name} or {rival.name} is better was not tested: {scores}"
    home = gap(hero.run, rival.run, parts.source)
    where = "In unseen domains" if len(parts.unseen) > 1 else f"In {parts.unseen[0]}, unseen in training"
    return f"{where}, {first}." + (f" {_at_home(parts, home)}." if home else "")


def _at_home(parts: Cast, home: Gap) -> str:
    where = {
        "ahead": f"it is {parts.hero.metric.difference(home.value)} ahead",
        "behind": f"it is {parts.hero.metric.difference(home.value)} behind",
        "level": f"they cannot be told apart ({home.text})",
        "untested": f"it was not tested ({home.text})",
    }[home.direction]
    return f"On {parts.home}, the source, {where}"


def _against_base(parts: Cast) -> list[str]:
    """What each of the two changed against what they started from: at home, elsewhere, in the worst domain."""
    base = parts.base
    if base is None:
        return []
    worst = base.run.scores.worst
    places = [(f"on {parts.home}", parts.source), ("elsewhere", parts.unseen)]
    if worst and len(parts.unseen) > 1:
        places.append((f"in {worst.domain}", [worst.domain]))
    clauses = [
        clause for entry in (parts.hero, parts.rival) if entry is not base and (clause := _changed(entry, base, places))
    ]
    about = f" ({worst.domain} is its worst domain)" if worst and len(places) > 2 else ""
    return [f"Against {base.name}{about}, {'; '.join(clauses)}."] if clauses else []


def _changed(entry: Entry, base: Entry, places: Sequence[tuple[str, list[str]]]) -> str:
    """`SoMA gains 3.1 points on clear, and loses 0.5 elsewhere`."""
    found = [(where, each) for where, domains in places if (each := gap(entry.run, base.run, domains))]
    verbs = [_VERBS[each.direction] for _, each in found]
    said = []
    for number, ((where, each), verb) in enumerate(zip(found, verbs, strict=True)):
        proven = each.direction in ("ahead", "behind")
        clause = f"{entry.metric.difference(each.value)} {where}" if proven else f"{where} ({each.text})"
        said.append(clause if number and verbs[number - 1] == verb else f"{verb} {clause}")
    return f"{entry.name} " + _listed(said) if said else ""


_VERBS = {"ahead": "gains", "behind": "loses", "level": "shows no sure change", "untested": "changes, untested,"}


def _gap(a: Entry, b: Entry, domains: Sequence[str]) -> Gap:
    found = gap(a.run, b.run, domains)
    assert found is not None, "comparable runs were judged in the same domains"
    return found


def _certainty(entry: Entry, other: Entry, found: Gap) -> str:
    between = f"The difference between {entry.name} and {other.name} in unseen domains"
    if found.interval is None:
        return (
            f"{between} was not tested: there are neither equal seeds of both nor results of single images in common."
        )
    span = f"{found.span} {found.metric.points}".rstrip()
    begin = f"{between} has a 95 % interval of {span} {found.how}"
    chance = "the choice of test images" if found.over == "images" else "the randomness of training"
    if found.interval.excludes_zero:
        return f"{begin}: {chance} does not explain it."
    return f"{begin}, which includes zero: it may be {chance}."


def _not_the_best(parts: Cast) -> list[str]:
    """Whatever the headline is about: which method is best, and how far SoMA is from it."""
    best, hero, metric = parts.entries[0], parts.hero, parts.hero.metric
    if best is hero:
        return []
    lead, found = metric.difference(best.mean - hero.mean), _gap(hero, best, parts.unseen)
    proven = {"level": ", which may be chance", "untested": ", untested"}.get(found.direction, "")
    return [
        f"{hero.label} is not the best in unseen domains: {lead} behind {best.name} "
        f"({metric.text(best.mean)} {metric.name}){proven}."
    ]


def _listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
