"""What came of the runs as tables of Markdown: of one setting by domain, and of all of them side by side."""

from collections.abc import Iterator, Sequence

import numpy as np
from comparing.intervals import over_domains_and_seeds, over_seeds, over_settings
from comparing.outcome import Outcome
from comparing.ways import FROZEN, LORA, SOMA, WAYS

from minorkey.evaluation.bootstrap import Difference, paired_t_interval


def pairs(ways: Sequence[str]) -> Iterator[tuple[str, str]]:
    """SoMA against each other way, then each of these against LoRA, then a frozen backbone against the rest."""
    rest = [way for way in ways if way not in (SOMA, LORA, FROZEN)]
    if SOMA in ways:
        yield from ((SOMA, way) for way in ways if way != SOMA)
    if LORA in ways:
        yield from ((way, LORA) for way in (FROZEN, *rest) if way in ways)
    if FROZEN in ways:
        yield from ((FROZEN, way) for way in rest)


def by_domain(outcome: Outcome) -> Iterator[str]:
    """The scores of a setting in each domain, and the differences between ways."""
    yield f"{outcome.title}: {_seeds(outcome)}"
    if not outcome.scores:
        return
    yield ""
    yield from header("", "rate", "seeds", "source", *outcome.domains, "mean of unseen")
    for way, scores in outcome.scores.items():
        cells = [f"{scores.source.mean():.1f}", *map(spread, scores.unseen), spread(scores.unseen.mean(axis=0))]
        yield row(way, f"{scores.rate:g}", str(len(scores.seeds)), *cells)
    differences = {pair: _paired(outcome, pair) for pair in pairs(list(outcome.scores))}
    if all(found is None for found in differences.values()):
        return
    yield ""
    yield from header("difference, points", "mean", "95 % over seeds", "95 % over domains and seeds")
    for (one, other), found in differences.items():
        if found is not None:
            both = span(over_domains_and_seeds(found)) if len(found) > 1 else ""
            yield row(f"{one} - {other}", f"{found.mean():+.1f}", span(over_seeds(found)), both)


def rates(outcome: Outcome) -> Iterator[str]:
    """Scores on validation images of the source, by way and rate; bold is the rate that was chosen."""
    yield from header(outcome.title, "rate: source validation, %")
    for way, curve in outcome.tried.items():
        cells = {rate: f"{rate:g}: {value:.1f}" for rate, value in curve.items()}
        yield row(
            way, " · ".join(f"**{cell}**" if rate == outcome.rates.get(way) else cell for rate, cell in cells.items())
        )


def scores_of_all(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A row for each way: on the source and, mean over domains, on unseen ones."""
    yield from header("source / unseen, %", *(f"{outcome.title} ({_seeds(outcome)})" for outcome in outcomes))
    for way in ways_of(outcomes):
        yield row(way, *(_both(outcome, way) for outcome in outcomes))


def differences_of_all(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A row for each pair: its difference on unseen domains in each setting and, if all have it, over all of them."""
    yield from header("difference, points", *(each.title for each in outcomes), "over settings", "over all domains")
    for pair in pairs(ways_of(outcomes)):
        found = [_paired(outcome, pair) for outcome in outcomes]
        if all(each is None for each in found):
            continue
        cells = ["" if each is None else told(over_seeds(each)) for each in found]
        there = [each for each in found if each is not None]
        together = ["", ""]
        if len(there) == len(found):
            everywhere = over_settings([each.mean(axis=0).tolist() for each in there])
            together = [told(everywhere), told(paired_t_interval([d.mean() for each in there for d in each]))]
        yield row(f"{pair[0]} - {pair[1]}", *cells, *together)


def lower_rates(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What the lowest rate that is nearly as good as the best one gives in its place; a row where it is another."""
    yield from header("", "best rate", "lower rate", "seeds", "source, points", "unseen, points")
    for outcome in outcomes:
        for way, lower in outcome.lower.items():
            best = outcome.scores.get(way)
            if best is None or best.rate == lower.rate:
                continue
            gain = lower.above(best)
            if len(gain.seeds) < 2:
                continue
            rates = (f"{best.rate:g}", f"{lower.rate:g}", str(len(gain.seeds)))
            yield row(f"{outcome.title}: {way}", *rates, f"{gain.source.mean():+.1f}", told(over_seeds(gain.unseen)))


def ways_of(outcomes: Sequence[Outcome]) -> list[str]:
    """The ways of any setting, in their order."""
    return [way for way in WAYS if any(way in outcome.scores for outcome in outcomes)]


def header(*cells: str) -> Iterator[str]:
    """The first two lines of a table."""
    yield row(*cells)
    yield row("---", *["---:"] * (len(cells) - 1))


def row(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def spread(values: np.ndarray) -> str:
    """Mean and standard deviation."""
    return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


def span(difference: Difference) -> str:
    """An interval; bold if it leaves zero out."""
    text = f"{difference.low:+.1f} to {difference.high:+.1f}"
    return f"**{text}**" if difference.excludes_zero else text


def told(difference: Difference) -> str:
    """A difference and its interval."""
    return f"{difference.value:+.1f} [{span(difference)}]"


def _both(outcome: Outcome, way: str) -> str:
    if way not in outcome.scores:
        return ""
    scores = outcome.scores[way]
    return f"{scores.source.mean():.1f} / {spread(scores.unseen.mean(axis=0))}"


def _seeds(outcome: Outcome) -> str:
    """How many seeds the ways have."""
    counts = sorted({len(scores.seeds) for scores in outcome.scores.values()} or {0})
    text = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    return f"{text} seed{'s' if counts[-1] != 1 else ''}"


def _paired(outcome: Outcome, pair: tuple[str, str]) -> np.ndarray | None:
    """The differences of two ways, `(D, S)`; None: one is not there, or they share no two seeds."""
    if not all(way in outcome.scores for way in pair):
        return None
    found = outcome.scores[pair[0]].above(outcome.scores[pair[1]])
    return found.unseen if len(found.seeds) > 1 else None
