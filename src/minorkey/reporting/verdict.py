"""What the numbers say, in plain words, also where they do not flatter: what changed, where, and for whom."""

from collections.abc import Sequence
from dataclasses import dataclass

from minorkey.reporting.compared import Compared, Entry, compare, ranked
from minorkey.reporting.differences import NO_SPREAD, Gap, gap
from minorkey.reporting.runs import Run

ONE_RUN = "Each row is one training run: the intervals cover the choice of test images, not the randomness of training."
SEEDS = "Intervals over seeds cover the randomness of training, on one and the same set of test images."


@dataclass(frozen=True)
class Verdict:
    """What is to be said first, and what must be said with it."""

    headline: str
    details: list[str]
    certainty: list[str]  # how sure that is


def verdict(runs: Sequence[Run]) -> Verdict:
    """Judge the comparable methods where they were trained and where they were not.

    Args:
        runs: one for each method, as `by_method` gives them.
    """
    entries = ranked(runs)
    if not entries:
        return Verdict("No unseen domain was judged, so nothing can be said about generalization.", [], [])
    parts = compare(runs)
    if parts is None:
        return _single(entries[0])
    elsewhere = _gap(parts.subject, parts.rival, parts.unseen)
    best = parts.entries[0]
    certainty = [_certainty(parts.subject, parts.rival, elsewhere)]
    if best not in (parts.subject, parts.rival):
        certainty.append(_certainty(parts.subject, best, _gap(parts.subject, best, parts.unseen)))
    certainty.append(SEEDS if any(run.members for run in runs) else ONE_RUN)
    details = [*_against_baseline(parts), *_nothing_to_gain(parts), *_not_the_best(parts)]
    return Verdict(_headline(parts, elsewhere), details, certainty)


def _single(entry: Entry) -> Verdict:
    mean = entry.run.scores.unseen_mean
    assert mean is not None
    low, high = map(entry.metric.number, mean.interval)
    count, seeds = _count(len(entry.domains("unseen")), "unseen domain"), len(entry.run.seeds)
    kind = f"{seeds} seeds: {low} to {high}" if seeds > 1 else f"95 % interval {low} to {high}"
    spread = seeds > 1 or entry.run.scores.mean_has_spread
    headline = f"{entry.label} reaches {entry.score} on average over {count}{f' ({kind})' if spread else ''}."
    return Verdict(headline, ["One run alone says nothing about which method is better."], [])


def _headline(parts: Compared, elsewhere: Gap) -> str:
    subject, rival = parts.subject, parts.rival
    mean = "" if len(parts.unseen) == 1 else f", mean of {len(parts.unseen)}"
    mine, theirs = map(subject.metric.text, elsewhere.scores)
    seeds = f", {elsewhere.common}" if elsewhere.common else ""
    scores = f"{mine} {subject.metric.name} against {theirs}{mean}{seeds}"
    if elsewhere.direction in ("ahead", "behind"):
        size = subject.metric.difference(elsewhere.value)
        stands = "ahead of" if elsewhere.direction == "ahead" else "behind"
        first = f"{subject.name} is {size} {stands} {rival.name}: {scores}"
    elif elsewhere.direction == "level":
        first = f"{subject.name} and {rival.name} cannot be told apart: {scores}"
    else:
        first = f"whether {subject.name} or {rival.name} is better was not tested: {scores}"
    home = gap(subject.run, rival.run, parts.source)
    where = "In unseen domains" if len(parts.unseen) > 1 else f"On {parts.unseen[0]}"
    return f"{where}, {first}." + (f" {_at_home(parts, home)}." if home else "")


def _at_home(parts: Compared, home: Gap) -> str:
    where = {
        "ahead": f"it is {parts.subject.metric.difference(home.value)} ahead",
        "behind": f"it is {parts.subject.metric.difference(home.value)} behind",
        "level": f"they cannot be told apart ({home.text})",
        "untested": f"it was not tested ({home.text})",
    }[home.direction]
    return f"On {parts.home}, the source, {where}"


def _against_baseline(parts: Compared) -> list[str]:
    """What each of the two changed against what they started from: at home, elsewhere, in the worst domain."""
    baseline = parts.baseline
    if baseline is None:
        return []
    clauses = [
        clause
        for entry in (parts.subject, parts.rival)
        if entry is not baseline
        and (clause := _changed(entry, baseline, _places(parts, baseline, full=entry is parts.subject)))
    ]
    return [f"Against {baseline.name}, {'; '.join(clauses)}."] if clauses else []


def _nothing_to_gain(parts: Compared) -> list[str]:
    """Whether the baseline left anything to learn on the source: where it did not, little can come of adapting."""
    baseline = parts.baseline
    if baseline is None or not parts.source:
        return []
    trained = [entry.run for entry in parts.entries if entry is not baseline]
    gains = [gap(run, baseline.run, parts.source) for run in trained]
    if not gains or any(each is None or each.direction in ("ahead", "untested") for each in gains):
        return []
    learnt = f"No method gains anything sure on {parts.home}: what they begin with has little left to learn there"
    elsewhere = [gap(run, baseline.run, parts.unseen) for run in trained]
    if any(each is not None and each.direction == "ahead" for each in elsewhere):
        return [f"{learnt}."]
    return [f"{learnt}, and the best that adapting can then do is to lose nothing in other domains."]


def _places(parts: Compared, baseline: Entry, *, full: bool) -> list[tuple[str, list[str]]]:
    """Where changes are told, in words, and the domains that are meant."""
    worst = baseline.run.scores.worst
    places = [(f"on {parts.home}", parts.source), ("elsewhere", parts.unseen)]
    if worst and len(parts.unseen) > 1:
        places.append((f"on {worst.domain}" + ", the worst domain at first" * full, [worst.domain]))
    return places


def _changed(entry: Entry, baseline: Entry, places: Sequence[tuple[str, list[str]]]) -> str:
    """`SoMA gains 3.1 points on clear, and loses 0.5 elsewhere`."""
    found = [(where, each) for where, domains in places if (each := gap(entry.run, baseline.run, domains))]
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
            f"{between} was not tested: there are neither two seeds that both have nor, of one run each, results of "
            "several images in common."
        )
    span = f"{found.span} {found.metric.points}".rstrip()
    begin = f"{between} has a 95 % interval of {span} {found.how}"
    chance = "the choice of test images" if found.over == "images" else "the randomness of training"
    if found.interval.excludes_zero:
        return f"{begin}: {chance} does not explain it."
    return f"{begin}, which includes zero: it may be {chance}."


def _not_the_best(parts: Compared) -> list[str]:
    """Whatever the headline is about: which method is best, and how far SoMA is from it."""
    best, subject, metric = parts.entries[0], parts.subject, parts.subject.metric
    found = _gap(subject, best, parts.unseen)
    if metric.rank(found.value) < NO_SPREAD:  # it is level, or ahead by the seeds that both have
        return []
    proven = {"level": ", which may be chance", "untested": ", untested"}.get(found.direction, "")
    return [
        f"{subject.label} is not the best in unseen domains: {metric.difference(found.value)} behind {best.name} "
        f"({metric.text(found.scores[1])} {metric.name}){proven}."
    ]


def _listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
