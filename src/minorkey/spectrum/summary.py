"""Many rows condensed: per block and role, per block, and in plain words."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from statistics import fmean
from typing import get_args

from minorkey.adapters.options import Role
from minorkey.evaluation.scores import DomainRole
from minorkey.spectrum.measures import INTRUDER_TOP, NOTHING, Share
from minorkey.spectrum.rows import DriftRow, Row, Spectrum, UpdateRow, WeightRow


@dataclass(frozen=True)
class Pooled:
    """The update of several weights together."""

    weights: int
    changed: int
    relative_size: float  # mean over the weights
    effective_rank: float  # mean over the changed ones; 0 where there are none
    major: Share  # of the energy of the whole update
    minor: Share
    random: Share
    intruders: int  # sum


def roles_of(rows: Sequence[WeightRow]) -> list[Role]:
    """The roles that occur, in their usual order."""
    found = {row.role for row in rows}
    return [role for role in get_args(Role) if role in found]


def ranks_of(rows: Sequence[Row]) -> str:
    """How many components count as minor in these weights, for reading: `16`, or `4 to 16` where they differ."""
    least, most = min(row.rank for row in rows), max(row.rank for row in rows)
    return str(most) if least == most else f"{least} to {most}"


def by_block_and_role(rows: Sequence[WeightRow], value: Callable[[WeightRow], float]) -> dict[int, dict[Role, float]]:
    """The mean of a value over the weights of each block and role."""
    cells: dict[int, dict[Role, list[float]]] = {}
    for row in rows:
        cells.setdefault(row.block, {}).setdefault(row.role, []).append(value(row))
    return {block: {role: fmean(values) for role, values in roles.items()} for block, roles in sorted(cells.items())}


def by_block(update: Sequence[UpdateRow]) -> dict[int, Pooled]:
    """The update of each block."""
    blocks = sorted({row.block for row in update})
    return {block: pool([row for row in update if row.block == block]) for block in blocks}


def pool(update: Sequence[UpdateRow]) -> Pooled:
    """Several weights as one: their energies add up, so shares are weighted by energy."""
    changed = [row for row in update if row.changed]
    return Pooled(
        weights=len(update),
        changed=len(changed),
        relative_size=fmean(row.relative_size for row in update),
        effective_rank=fmean(row.effective_rank for row in changed) if changed else 0.0,
        major=_pooled_share(changed, lambda row: row.major),
        minor=_pooled_share(changed, lambda row: row.minor),
        random=_pooled_share(changed, lambda row: row.random),
        intruders=sum(row.intruders for row in update),
    )


def _pooled_share(rows: Sequence[UpdateRow], share: Callable[[UpdateRow], Share]) -> Share:
    total = sum(row.energy for row in rows)
    if not total:
        return NOTHING
    weighted = [[row.energy / total * part for part in astuple(share(row))] for row in rows]
    return Share(*map(sum, zip(*weighted, strict=True)))


def drift_by_domain(drift: Sequence[DriftRow]) -> dict[str, list[DriftRow]]:
    """The blocks of each domain, in the order measured."""
    domains: dict[str, list[DriftRow]] = {}
    for row in drift:
        domains.setdefault(row.domain, []).append(row)
    return domains


def last_drift(drift: Sequence[DriftRow]) -> list[DriftRow]:
    """The last block in each domain."""
    return [rows[-1] for rows in drift_by_domain(drift).values()]


def findings(spectrum: Spectrum) -> list[str]:
    """What the rows say, one sentence each."""
    sentences = [_about_weights(spectrum)]
    if spectrum.update:
        sentences += _about_update(spectrum)
    if spectrum.drift:
        sentences.append(_about_drift(spectrum.drift))
    return sentences


def _about_weights(spectrum: Spectrum) -> str:
    shares, ranks = [row.minor_share for row in spectrum.weights], ranks_of(spectrum.weights)
    filled = fmean(row.effective_rank / min(row.out, row.columns) for row in spectrum.weights)
    return (
        f"{len(shares)} weights: the {ranks} smallest singular components hold {percent(fmean(shares))} of a weight's "
        f"energy on average ({percent(min(shares))} to {percent(max(shares))}); "
        f"the effective rank is {percent(filled)} of the full one."
    )


def _about_update(spectrum: Spectrum) -> list[str]:
    whole = pool(spectrum.update)
    if not whole.changed:
        return ["The training changed none of these weights."]
    ranks = ranks_of(spectrum.update)
    looked_at = sum(min(INTRUDER_TOP, row.out, row.columns) for row in spectrum.update if row.changed)
    return [
        f"The training changed {whole.changed} of {whole.weights} weights, by {percent(whole.relative_size)} of their "
        f"norm on average; the effective rank of a change is {whole.effective_rank:.0f} on average.",
        f"Of the update's energy {percent(whole.minor.either)} lies in the minor {ranks} components on at "
        f"least one side and {percent(whole.major.either)} in the major {ranks}, where a random update has "
        f"{percent(whole.random.either)}.",
        f"Intruder dimensions: {whole.intruders} of the {looked_at} leading directions of the changed weights.",
    ]


def _about_drift(drift: Sequence[DriftRow]) -> str:
    last = sorted(last_drift(drift), key=lambda row: row.change)
    texts = {
        role: [f"{percent(row.change)} on {row.domain}" for row in last if row.role == role]
        for role in get_args(DomainRole)
    }
    parts = [f"{' to '.join(dict.fromkeys([found[0], found[-1]]))} ({role})" for role, found in texts.items() if found]
    return f"The output of the last block moved by {', by '.join(parts)}."


def percent(share: float) -> str:
    """A share for reading, with two significant digits below 10 %.

    >>> percent(0.31), percent(0.02), percent(0.0), percent(3e-9)
    ('31 %', '2.0 %', '0 %', '<0.001 %')
    """
    return f"{hundredths(share)} %"


def hundredths(share: float) -> str:
    """As `percent`, without the sign, for a column of a table."""
    value = 100 * share
    if 0 < value < 1e-3:
        return "<0.001"
    return f"{value:.0f}" if value >= 9.95 or value == 0 else f"{value:#.2g}"
