"""From a knock-out to a suggestion: how many early blocks to freeze."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from minorkey.adapters.decompose import End
from minorkey.errors import DataError
from minorkey.evaluation.bootstrap import Difference
from minorkey.spectrum.knockout.rows import KnockoutRow

DEFAULT_SHARE = 1 / 3
"""Of the blocks, where a knock-out decides nothing: 8 of 24, as for DINOv2 ViT-L (SoMA, arXiv 2412.04077)."""


WARNING = " Labels of unseen domains were used: scores on these are no longer of unseen domains."


@dataclass(frozen=True)
class Suggestion:
    """How many early blocks to freeze, and why."""

    first_block: int  # the first block to adapt, 0 ... half of the blocks
    lowest: int  # what it would be at the lower ends of the intervals
    highest: int  # what it would be at their upper ends
    reason: str  # the rule and its figures


def suggest(rows: Sequence[KnockoutRow], *, with_unseen: bool = False) -> Suggestion:
    """Suggest `first_block`: freeze the leading blocks that lean on major components more than the average block.

    How much a block leans on them is its contrast (`block_contrasts`). SoMA reads major components as what all
    domains share, so blocks at the front that work by these are kept as they are, at most half of all. This is
    a heuristic of this project: it says what the pretrained block does, not what training it would do.

    Args:
        rows: a knock-out of both ends of every block.
        with_unseen: take the mean over all domains. The labels of unseen domains then choose a setting, and
            scores on them are no longer those of unseen domains.

    Returns:
        The suggestion; a third of the blocks where the knock-out decides nothing: no source domain was judged,
        or no block has a contrast above 0 beyond its interval.

    Raises:
        DataError: a block was not judged, or only without one end.
    """
    used = [row for row in rows if with_unseen or row.role == "source"]
    blocks = 1 + max((row.block for row in rows if row.block is not None), default=0)
    if not used:
        return _undecided(blocks, "no source domain was judged, and unseen domains must not choose a setting")
    warning = WARNING if with_unseen else ""
    contrasts = block_contrasts(used, blocks)
    if not any(each.low > 0 for each in contrasts):
        found = f"in no block do major components matter more than minor ones beyond the interval ({_basis(used)})"
        return _undecided(blocks, found, warning)
    average = sum(each.value for each in contrasts) / blocks
    first, lowest, highest = (
        min(blocks // 2, _leading_above(average, [each[end] for each in contrasts])) for end in (0, 1, 2)
    )
    metric = used[0].scored
    figures = ", ".join(metric.number(each.value) for each in contrasts)
    reason = (
        f"removing major components rather than as many minor ones costs {figures} {metric.of_points(metric.name)} "
        f"more, block by block ({_basis(used)}), {metric.number(average)} on average; the leading blocks above the "
        f"average are frozen, at most half of the {blocks}. Within the 95 % intervals: {lowest} ... {highest}.{warning}"
    )
    return Suggestion(first, lowest, highest, reason)


def block_contrasts(rows: Sequence[KnockoutRow], blocks: int) -> list[Difference]:
    """Per block, the loss without its major minus the loss without its minor components, mean over domains.

    Each interval joins those of the losses as if they were independent. They come from the same images, on which
    both losses tend to rise together, so it is too wide rather than too narrow.

    Args:
        rows: of the domains that count.
        blocks: how many there are.

    Raises:
        DataError: a block was not judged, or only without one end.
    """
    contrasts = []
    for block in range(blocks):
        major, minor = (_mean_loss(rows, block, end) for end in ("major", "minor"))
        value = major.value - minor.value
        down = math.hypot(major.value - major.low, minor.high - minor.value)
        up = math.hypot(major.high - major.value, minor.value - minor.low)
        contrasts.append(Difference(value, value - down, value + up))
    return contrasts


def _mean_loss(rows: Sequence[KnockoutRow], block: int, end: End) -> Difference:
    chosen = [row for row in rows if row.block == block and row.which == end]
    if not chosen:
        raise DataError(
            f"block {block} was not judged without its {end} components; knock out both ends of every block"
        )
    value = sum(row.loss for row in chosen) / len(chosen)
    down = math.hypot(*(row.loss - row.low for row in chosen)) / len(chosen)
    up = math.hypot(*(row.high - row.loss for row in chosen)) / len(chosen)
    return Difference(value, value - down, value + up)


def _leading_above(average: float, values: Sequence[float]) -> int:
    return next((index for index, value in enumerate(values) if value <= average), len(values))


def _undecided(blocks: int, why: str, warning: str = "") -> Suggestion:
    reason = (
        f"{why}, so the knock-out decides nothing; a third of the {blocks} blocks, SoMA's choice for ViT-L.{warning}"
    )
    return Suggestion(round(blocks * DEFAULT_SHARE), 0, blocks // 2, reason)


def _basis(rows: Sequence[KnockoutRow]) -> str:
    images = {row.domain: row.images for row in rows}
    return f"{sum(images.values())} images of {', '.join(images)}"
