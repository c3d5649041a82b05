"""How far one method is from another in some domains, and how sure that is: over seeds where there are several."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from minorkey.evaluation.bootstrap import Difference, paired_difference, paired_t_interval
from minorkey.reporting.runs import Run, same_images
from minorkey.reporting.tables import is_start
from minorkey.tasks.metric import Metric

NO_SPREAD = 1e-9
"""Width of an interval that says nothing: a few seeds that differ by as many images each, as accuracies do."""

Direction = Literal["ahead", "behind", "level", "untested"]


@dataclass(frozen=True)
class Gap:
    """The mean score of one method over some domains minus that of another."""

    metric: Metric
    scores: tuple[float, float]  # theirs: fractions, or in the unit of the metric
    interval: Difference | None = None  # 95 %; None: not tested
    over: str = ""  # what the interval is over: `3 seeds`, or `images`
    common: str = ""  # `2 seeds that both have`, where others were left aside

    @property
    def value(self) -> float:
        """The difference, as scores are."""
        return self.scores[0] - self.scores[1]

    @property
    def direction(self) -> Direction:
        """Where the first one stands; level, where the interval includes zero."""
        if self.interval is None:
            return "untested"
        if not self.interval.excludes_zero:
            return "level"
        return "ahead" if self.metric.rank(self.value) < 0 else "behind"

    @property
    def amount(self) -> str:
        """The difference with its sign: `+1.5`."""
        return _signed(self.metric, self.value)

    @property
    def text(self) -> str:
        """The difference with its sign: `+1.5 points`."""
        return f"{self.amount} {self.metric.points}".rstrip()

    @property
    def span(self) -> str:
        """The interval: `−0.3 to +2.1`; empty where nothing was tested."""
        if self.interval is None:
            return ""
        return f"{_signed(self.metric, self.interval.low)} to {_signed(self.metric, self.interval.high)}"

    @property
    def how(self) -> str:
        """What the interval is: `over 3 seeds, paired (Student t)`."""
        if self.over == "images":
            return "over images (paired bootstrap)"
        return f"over {self.common or self.over}, paired (Student t)"


def gap(a: Run, b: Run, domains: Sequence[str]) -> Gap | None:
    """Method `a` minus method `b` over some domains; None where one was not judged in all of them.

    Both are compared seed by seed, by those that both have where there are two; a start may have one, for nothing was
    drawn. With one seed each, the same images are drawn for both; where all domains have equally many, image i for all
    of them at once, which is right if they show the same scenes and otherwise adds no bias.
    """
    first, second = (mean_score(run, domains) for run in (a, b))
    if first is None or second is None:
        return None
    plain = Gap(a.scores.metric, (first, second))
    pairs = _paired(a, b)
    if len(pairs) >= 2:
        scores = [[mean_score(run, domains) or 0.0 for run in runs] for runs in zip(*pairs, strict=True)]
        values = [x - y for x, y in zip(*scores, strict=True)]
        seeds, all_seeds = f"{len(pairs)} seeds", len(pairs) == max(len(a.seeds), len(b.seeds))
        of_pairs = replace(
            plain,
            scores=(fmean(scores[0]), fmean(scores[1])),
            common="" if all_seeds else f"{seeds} that both have",
        )
        over_seeds = paired_t_interval(values)
        if values[0] and over_seeds.high - over_seeds.low < NO_SPREAD:
            return of_pairs
        return replace(of_pairs, interval=over_seeds, over=seeds)
    if len(a.seeds) > 1 or len(b.seeds) > 1:
        return plain
    interval = _over_images(a, b, domains)
    return replace(plain, interval=interval, over="images") if interval else plain


def mean_score(run: Run, domains: Sequence[str]) -> float | None:
    """Unweighted mean over domains; None where one of them was not judged, or there is none."""
    scores = {score.domain: score.score for score in run.scores.domains}
    found = [scores[domain] for domain in domains if domain in scores]
    return fmean(found) if found and len(found) == len(domains) else None


def _paired(a: Run, b: Run) -> list[tuple[Run, Run]]:
    """The runs of both, seed by seed, of the seeds that both have.

    A start that was judged once is that of every seed.
    """
    if any(is_start(method.scores) and len(method.seeds) == 1 for method in (a, b)):
        return [(x, y) for x in a.seeds for y in b.seeds]
    mine, theirs = ({run.scores.training.seed: run for run in method.seeds} for method in (a, b))
    return [(run, theirs[seed]) for seed, run in mine.items() if seed in theirs]


def _over_images(a: Run, b: Run, domains: Sequence[str]) -> Difference | None:
    if a.evidence is None or b.evidence is None:
        return None
    if any(domain not in a.evidence or domain not in b.evidence for domain in domains):
        return None
    if not all(same_images((a, b), domain) for domain in domains):
        return None
    first, second = ([run.evidence[domain] for domain in domains] for run in (a, b) if run.evidence)
    if [x.shape for x in first] != [x.shape for x in second] or any(x.shape[0] < 2 for x in first):
        return None  # one image, drawn again and again, has no spread
    shared = len({evidence.shape[0] for evidence in first}) == 1
    return paired_difference(first, second, shared_scenes=shared)


def _signed(metric: Metric, score: float) -> str:
    text = metric.number(score, sign="+")
    return text.replace("-", "−") if float(text) else text[1:]  # zero has no sign
