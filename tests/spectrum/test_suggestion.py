"""The rule from losses to `first_block`, on rows with known answers."""

from typing import Any

import pytest

from minorkey.errors import DataError
from minorkey.spectrum.knockout.rows import KnockoutRow
from minorkey.spectrum.knockout.suggestion import block_contrasts, suggest


def rows(major: list[float], minor: list[float], reach: float = 0.001, **fields: Any) -> list[KnockoutRow]:
    """A row per block and end, whose loss has an interval of `reach` to both sides."""
    common = {"share": 0.125, "domain": "clear", "role": "source", "images": 8, "intact": 0.9, "class_loss": {}}
    return [
        KnockoutRow(
            **{**common, **fields}, block=block, which=which, metric="miou", without=0.9 - loss, loss=loss,
            low=loss - reach, high=loss + reach,
        )
        for which, losses in (("major", major), ("minor", minor))
        for block, loss in enumerate(losses)
    ]  # fmt: skip


FLAT = [0.0] * 8


def test_freezes_the_leading_blocks_above_the_average() -> None:
    # The average is 0.1; block 5 is above it again, but behind a block that is not.
    found = suggest(rows([0.3, 0.2, 0.05, 0.0, 0.0, 0.25, 0.0, 0.0], FLAT))
    assert (found.first_block, found.lowest, found.highest) == (2, 2, 2)
    assert "30.0, 20.0, 5.0" in found.reason
    assert "10.0 on average" in found.reason
    assert "8 images of clear" in found.reason


def test_loss_without_minor_components_counts_against_freezing() -> None:
    assert suggest(rows([0.3, 0.3, *FLAT[2:]], [0.0, 0.3, *FLAT[2:]])).first_block == 1


def test_at_most_half_of_the_blocks() -> None:
    assert suggest(rows([0.3] * 7 + [0.0], FLAT)).first_block == 4


def test_a_first_block_below_the_average_freezes_nothing() -> None:
    assert suggest(rows([0.0, 0.2, *FLAT[2:]], FLAT)).first_block == 0


def test_intervals_give_the_range() -> None:
    # Contrasts 0.30, 0.14, 0.08 around an average of 0.08 with a reach of 0.05 sqrt(2) = 0.07.
    found = suggest(rows([0.30, 0.14, 0.08, 0.04, 0.04, 0.04, 0.0, 0.0], FLAT, reach=0.05))
    assert (found.lowest, found.first_block, found.highest) == (1, 2, 4)


def test_nothing_beyond_the_interval_decides_nothing() -> None:
    found = suggest(rows([0.02, *FLAT[1:]], FLAT, reach=0.05))
    assert (found.first_block, found.lowest, found.highest) == (3, 0, 4)
    assert "decides nothing" in found.reason


def test_unseen_domains_do_not_choose_unless_asked_and_then_it_is_said() -> None:
    source = rows([0.3, *FLAT[1:]], FLAT)
    unseen = rows([0.3, 0.6, *FLAT[2:]], FLAT, domain="night", role="unseen")
    assert suggest(source + unseen) == suggest(source)
    with_unseen = suggest(source + unseen, with_unseen=True)
    assert (suggest(source).first_block, with_unseen.first_block) == (1, 2)
    assert "16 images of clear, night" in with_unseen.reason
    assert "no longer of unseen domains" in with_unseen.reason
    alone = suggest(unseen)
    assert alone.first_block == 3
    assert "no source domain was judged" in alone.reason


def test_mean_over_domains_and_its_interval() -> None:
    two = rows([0.2], [0.0], reach=0.03) + rows([0.4], [0.1], reach=0.04, domain="dusk")
    (contrast,) = block_contrasts(two, 1)
    assert contrast.value == pytest.approx(0.3 - 0.05)
    # Each mean of two independent losses reaches 0.05 / 2, their difference sqrt(2) times as far.
    assert contrast.high - contrast.value == pytest.approx(0.025 * 2**0.5)
    assert contrast.value - contrast.low == pytest.approx(0.025 * 2**0.5)


def test_a_missing_end_is_an_error() -> None:
    with pytest.raises(DataError, match="block 0 was not judged without its minor components; knock out both ends"):
        suggest(rows([0.3, 0.1], []))
