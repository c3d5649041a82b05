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
    yield f"{outcome.title}: {len(outcome.seeds)} seeds of every way ({', '.join(map(str, outcome.seeds))})"
    if not outcome.seeds:
        return
    yield ""
    yield from header("", "rate", "source", *outcome.domains, "mean of unseen")
    for way, unseen in outcome.unseen.items():
        cells = [f"{outcome.source[way].mean():.1f}", *map(spread, unseen), spread(unseen.mean(axis=0))]
        yield row(way, f"{outcome.rates[way]:g}", *cells)
    if len(outcome.seeds) < 2:
        return
    yield ""
    yield from header("difference, points", "mean", "95 % over seeds", "95 % over domains and seeds")
    for one, other in pairs(list(outcome.unseen)):
        found = outcome.difference(one, other)
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
    yield from header("source / unseen, %", *map(_title, outcomes))
    for way in ways_of(outcomes):
        yield row(way, *(_both(outcome, way) if has(outcome, way) else "" for outcome in outcomes))


def differences_of_all(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A row for each pair: its difference on unseen domains in each setting and, if all have it, over all of them."""
    shown = [outcome for outcome in outcomes if len(outcome.seeds) > 1]
    yield from header("difference, points", *(outcome.title for outcome in shown), "over settings", "over all domains")
    for pair in pairs(ways_of(shown)):
        having = [outcome for outcome in shown if all(has(outcome, way) for way in pair)]
        found = {outcome.title: outcome.difference(*pair) for outcome in having}
        if not found:
            continue
        cells = [told(over_seeds(found[title])) if title in found else "" for title in (each.title for each in shown)]
        together = ["", ""]
        if len(found) == len(shown):
            everywhere = over_settings([each.mean(axis=0).tolist() for each in found.values()])
            domains = [domain.mean() for each in found.values() for domain in each]
            together = [told(everywhere), told(paired_t_interval(domains))]
        yield row(f"{pair[0]} - {pair[1]}", *cells, *together)


def ways_of(outcomes: Sequence[Outcome]) -> list[str]:
    """The ways of any setting, in their order."""
    return [way for way in WAYS if any(way in outcome.unseen for outcome in outcomes)]


def has(outcome: Outcome, way: str) -> bool:
    """Whether there are scores of a way."""
    return way in outcome.unseen and bool(outcome.seeds)


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
    return f"{outcome.source[way].mean():.1f} / {spread(outcome.unseen[way].mean(axis=0))}"


def _title(outcome: Outcome) -> str:
    return f"{outcome.title} ({len(outcome.seeds)} seeds)"
