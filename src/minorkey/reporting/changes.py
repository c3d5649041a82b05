"""What each method changed against what it began with: at home, in unseen domains, and in the worst of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from minorkey.reporting.compared import Compared
from minorkey.reporting.differences import Gap, gap, mean_score
from minorkey.reporting.runs import Run


@dataclass(frozen=True)
class Changes:
    """A table: a column per place, the scores of the baseline, and what each method changed there."""

    baseline: str
    places: list[tuple[str, str]]  # title, and what is meant
    scores: list[str]  # of the baseline
    rows: list[tuple[str, str, list[Gap | None]]]  # label, colour, changes

    @property
    def how(self) -> str:
        """What the intervals are; empty without any."""
        kinds = dict.fromkeys(each.how for *_, gaps in self.rows for each in gaps if each and each.interval)
        return " or ".join(kinds)


def changes(parts: Compared, runs: Sequence[Run], colours: Sequence[str]) -> Changes | None:
    """The table; None where the page has nothing to compare with.

    Args:
        parts: of the comparison.
        runs: one for each method.
        colours: theirs.
    """
    baseline = parts.baseline
    if baseline is None:
        return None
    worst = baseline.run.scores.worst
    places = [
        ("at home", ", ".join(parts.source), parts.source),
        ("unseen", f"mean of {len(parts.unseen)}", parts.unseen),
    ]
    if worst and len(parts.unseen) > 1:
        places.append(("worst", worst.domain, [worst.domain]))
    judged = [place for place in places if place[2]]
    metric = baseline.metric
    shown = {entry.run.folder: entry for entry in parts.entries if entry is not baseline}
    return Changes(
        baseline=baseline.label,
        places=[(title, meaning) for title, meaning, _ in judged],
        scores=[metric.text(mean_score(baseline.run, domains) or 0.0) for *_, domains in judged],
        rows=[
            (shown[run.folder].label, colour, [gap(run, baseline.run, domains) for *_, domains in judged])
            for run, colour in zip(runs, colours, strict=True)
            if run.folder in shown
        ],
    )
