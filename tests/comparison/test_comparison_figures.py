"""What a comparison makes of scores: differences, intervals, tables, a page."""

import numpy as np
import pytest
from planned import choose, finish


def outcome(title="streets", lower=(), **ways):
    from comparing.outcome import Outcome, Scores

    ways = ways or {"lora": (0.4, 0.6), "soma": (0.5, 0.7)}
    rates = {"lora": 1e-3, "soma": 3e-3}

    def scores(rate, values, source):
        seeds = range(len(values))
        return Scores(rate, seeds, 100 * np.array([values, values]), np.array([source for _ in seeds]))

    return Outcome(
        title,
        ["fog", "night"],
        {way: scores(rates[way], values, 81.0) for way, values in ways.items()},
        rates,
        {"lora": {1e-3: 80.0}},
        lower={way: scores(3e-4, values, 80.5) for way, values in dict(lower).items()},
    )


def test_ways_at_their_lower_rates_are_compared_as_at_their_best_ones():
    import compare

    two = [outcome(each, lower={"lora": (0.5, 0.7), "soma": (0.5, 0.7)}) for each in ("streets", "cells")]
    lines = list(compare.at_lower_rates(two))
    assert "| streets: lora | 0.001 | 0.0003 | 2 | -0.5 | +10.0 [**+10.0 to +10.0**] |" in lines
    assert [line for line in lines if line.startswith("| soma - lora | +0.0 ")]


def test_intervals_over_domains_and_seeds_as_computed_by_hand():
    from comparing.intervals import over_domains_and_seeds, over_seeds

    cells = np.array([[1.0, 3.0], [5.0, 11.0]])  # means 2, 8 of domains; 3, 7 of seeds; 5 of all; rests -1, 1, 1, -1
    seeds = over_seeds(cells)
    assert (seeds.value, seeds.high) == pytest.approx((5, 5 + 12.7062 * 2), abs=1e-3)  # sd of 3, 7 over root 2 is 2
    # MS: domains 2 (9 + 9) = 36, seeds 2 (4 + 4) = 16, rest 4; variance (36 + 16 - 4) / 4 = 12;
    # freedom 48^2 / (36^2 + 16^2 + 4^2) = 2304 / 1568 = 1.469
    both = over_domains_and_seeds(cells)
    assert both.value == 5
    assert both.high - 5 == pytest.approx(np.sqrt(12) * 6.1566, rel=2e-2)


def test_where_only_domains_differ_seeds_make_the_interval_no_narrower():
    from comparing.intervals import over_domains_and_seeds

    wide = over_domains_and_seeds(np.repeat([[0.0], [2.0], [4.0]], 5, axis=1))
    assert wide.high - 2 == pytest.approx(4.3027 * 2 / np.sqrt(3), rel=1e-3)  # t of 2; sd 2, three domains


def test_the_interval_over_settings_as_computed_by_hand():
    from comparing.intervals import over_settings

    found = over_settings([[1.0, 3.0], [4.0, 6.0, 8.0]])  # means 2, 6; variances of the means 1 and 4/3
    freedom = (1 + 4 / 3) ** 2 / (1 / 1 + (4 / 3) ** 2 / 2)
    assert freedom == pytest.approx(2.882, abs=1e-3)
    assert found.value == 4
    assert found.high - 4 == pytest.approx(np.sqrt((1 + 4 / 3) / 4) * 3.26, rel=1e-2)


def test_the_table_of_a_setting_as_computed_by_hand():
    from comparing.tables import by_domain, rates

    lines = list(by_domain(outcome()))
    assert lines[0] == "streets: 2 seeds"
    assert "| soma | 0.003 | 2 | 81.0 | 60.0 ± 14.1 | 60.0 ± 14.1 | 60.0 ± 14.1 |" in lines
    assert "| soma - lora | +10.0 | **+10.0 to +10.0** | **+10.0 to +10.0** |" in lines
    assert "| lora | **0.001: 80.0** |" in list(rates(outcome()))


def test_the_table_of_all_settings_as_computed_by_hand():
    from comparing.tables import differences_of_all, scores_of_all

    two = [outcome(), outcome("cells", lora=(0.4, 0.6), soma=(0.4, 0.6))]
    assert "| soma | 81.0 / 60.0 ± 14.1 | 81.0 / 50.0 ± 14.1 |" in list(scores_of_all(two))
    (line,) = [line for line in differences_of_all(two) if line.startswith("| soma - lora")]
    cells = line.strip("| ").split(" | ")
    assert cells[1:4] == ["+10.0 [**+10.0 to +10.0**]", "+0.0 [+0.0 to +0.0]", "+5.0 [**+5.0 to +5.0**]"]
    # four domains, 10, 10, 0, 0: sd 5.774, t of 3 is 3.182, so 5 +- 9.19
    assert cells[4] == "+5.0 [-4.2 to +14.2]"


def test_ways_that_not_all_settings_have_are_compared_in_their_own_alone():
    from comparing.tables import by_domain, differences_of_all

    more, less = outcome(), outcome("cells", soma=(0.5, 0.7))
    assert [line for line in by_domain(more) if line.startswith("| soma - lora")]
    (line,) = [line for line in differences_of_all([more, less]) if line.startswith("| soma - lora")]
    assert line == "| soma - lora | +10.0 [**+10.0 to +10.0**] |  |  |  |"
    assert not [line for line in differences_of_all([less]) if line.startswith("| soma - lora")]


def test_ways_are_compared_on_the_seeds_that_both_have():
    from comparing.tables import by_domain, scores_of_all

    more = outcome(lora=(0.4, 0.6, 0.9), soma=(0.5, 0.7))
    assert "| soma - lora | +10.0 | **+10.0 to +10.0** | **+10.0 to +10.0** |" in list(by_domain(more))
    assert next(iter(scores_of_all([more]))) == "| source / unseen, % | streets (2 to 3 seeds) |"
    alone = outcome(lora=(0.4, 0.6, 0.9), soma=(0.5,))
    assert not [line for line in by_domain(alone) if line.startswith("| soma - lora")]


def test_only_seeds_whose_domains_are_all_there_count(plan):
    from comparing.outcome import Outcome

    choose(plan, {"lora": 1e-3, "soma": 3e-3})
    jobs = plan.wanted()
    for job in jobs[:-1]:
        finish(plan, job)
    found = Outcome.of("x", plan)
    assert found.scores["soma"].seeds == [0]
    assert found.scores["lora"].seeds == [0, 1]
    assert found.domains == ["here", "there"]
    assert found.scores["soma"].unseen.tolist() == [[25.0], [25.0]]
    assert found.scores["soma"].source.tolist() == [50.0]
    assert found.rates == {"frozen": 0.02, "lora": 1e-3, "soma": 3e-3}


def test_a_seed_that_lacks_a_domain_does_not_count_and_one_that_diverged_counts_0():
    from comparing.outcome import Scores
    from comparing.records import Record

    scores = [{"fog": 0.5, "night": 0.3}, {"fog": 0.5}, {}]
    records = [Record("lora", 1e-3, "streets", seed, 0.8, found) for seed, found in enumerate(scores)]
    found = Scores.of(records, ["streets"], ["fog", "night"])
    assert (found.rate, found.seeds, found.unseen.tolist()) == (1e-3, [0, 2], [[50, 0], [30, 0]])
    assert Scores.of(records[1:2], ["streets"], ["fog", "night"]) is None


def test_a_page_keeps_what_is_around_its_figures(tmp_path):
    from comparing.page import write_blocks

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- scores -->\nold\n<!-- end of scores -->\nafter\n")
    write_blocks(page, {"scores": "| new |"})
    assert page.read_text() == "before\n<!-- scores -->\n\n| new |\n\n<!-- end of scores -->\nafter\n"
    with pytest.raises(SystemExit, match="lacks '<!-- rates -->'"):
        write_blocks(page, {"rates": ""})
