"""scripts/compare.py: which runs it wants, what it makes of their scores, and a comparison in small."""

import json
from pathlib import Path

import numpy as np
import pytest

from minorkey.config import save_config

SCRIPTS = Path(__file__).parents[1] / "scripts"
GRIDS = {"frozen": (0.02,), "lora": (3e-4, 1e-3, 3e-3), "soma": (1e-3, 3e-3, 1e-2)}


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture
def plan(tmp_path):
    from comparing.plan import Plan
    from comparing.records import Results

    return Plan(Results(tmp_path), GRIDS, ["here", "there"], ["here"], [0, 1], [100])


def finish(plan, job, validation=0.5, scores=None):
    values = {"way": job.way, "rate": job.rate, "fold": job.fold, "seed": job.seed, "validation": {"home": validation}}
    plan.results.write(job, {**values, "scores": scores or ({job.fold: 0.25} if job.unseen else {})})


def choose(plan, best):
    """Finish the runs that choose rates; `best` is each way's best rate, and the further off, the worse."""
    while wanted := [job for job in plan.wanted() if not job.unseen]:
        for job in wanted:
            finish(plan, job, 0.9 - abs(np.log(job.rate / best[job.way])) / 20)


def test_rates_come_first_and_until_all_are_chosen_nothing_unseen_is_judged(plan):
    wanted = plan.wanted()
    assert len(wanted) == 6
    assert {(job.way, job.fold, job.seed, job.unseen) for job in wanted} == {
        ("lora", "here", 100, False),
        ("soma", "here", 100, False),
    }
    for job in wanted[:-1]:
        finish(plan, job, 0.6 if job.rate == GRIDS[job.way][1] else 0.5)
    assert plan.wanted() == wanted[-1:]


def test_then_every_way_runs_at_its_own_rate_seed_by_seed(plan):
    choose(plan, {"lora": 1e-3, "soma": 3e-3})
    wanted = plan.wanted()
    assert {job.way: job.rate for job in wanted} == {"frozen": 0.02, "lora": 1e-3, "soma": 3e-3}
    assert [(job.seed, job.fold) for job in wanted[::3]] == [(0, "here"), (0, "there"), (1, "here"), (1, "there")]
    assert all(job.unseen for job in wanted)


@pytest.mark.parametrize(
    ("best", "tried", "chosen"),
    [
        (1e-3, [3e-4, 1e-3, 3e-3], 1e-3),
        (1e-2, [3e-4, 1e-3, 3e-3, 9e-3, 0.03], 9e-3),
        (1.0, [3e-4, 1e-3, 3e-3, 9e-3, 0.03], 0.03),  # two steps, and no further
        (1e-4, [3e-5, 1e-4, 3e-4, 1e-3, 3e-3], 1e-4),
    ],
)
def test_a_grid_goes_on_where_its_best_rate_is_at_an_edge(plan, best, tried, chosen):
    choose(plan, {"lora": best, "soma": 3e-3})
    assert sorted(record.rate for record in plan.results.choosing() if record.way == "lora") == tried
    assert plan.rate("lora") == (chosen, [])


def test_what_is_there_is_not_run_again(plan):
    from comparing.plan import Plan
    from comparing.records import Results

    choose(plan, {"lora": 1e-3, "soma": 3e-3})
    first, *others = plan.wanted()
    finish(plan, first)
    again = Plan(Results(plan.results.folder), GRIDS, plan.folds, plan.rate_folds, plan.seeds, plan.rate_seeds)
    assert again.wanted() == others


def test_a_run_at_another_rate_than_the_one_chosen_does_not_count(plan):
    from comparing.records import Job

    finish(plan, Job("lora", 3e-3, "here", 0, unseen=True), scores={"here": 0.9})
    choose(plan, {"lora": 1e-3, "soma": 3e-3})
    assert Job("lora", 1e-3, "here", 0, unseen=True) in plan.wanted()
    assert plan.reported("lora") == []


def test_other_rates_are_judged_on_unseen_domains_only_when_all_else_is_done(plan):
    from dataclasses import replace

    from comparing.outcome import Outcome

    plan = replace(plan, curve_seeds=[1])
    choose(plan, {"lora": 1e-3, "soma": 3e-3})
    while wanted := [job for job in plan.wanted() if job.chosen]:
        assert wanted == plan.wanted()
        finish(plan, wanted[0])
    wanted = plan.wanted()
    assert {(job.way, job.rate) for job in wanted} == {
        ("lora", 3e-4), ("lora", 3e-3), ("soma", 1e-3), ("soma", 1e-2),
    }  # fmt: skip
    assert {(job.fold, job.seed) for job in wanted} == {("here", 1), ("there", 1)}
    for job in wanted[:-1]:
        finish(plan, job, scores={job.fold: 0.75})
    found = Outcome.of("x", plan)
    assert found.unseen_at["lora"] == {3e-4: 75, 1e-3: 25, 3e-3: 75}
    assert found.unseen_at["soma"] == {1e-3: 75, 3e-3: 25}  # the last is not there yet
    assert found.scores["lora"].unseen.tolist() == [[25, 25], [25, 25]]


def test_the_lowest_rate_that_is_nearly_as_good_runs_on_the_seeds_without_curves(plan):
    from dataclasses import replace

    from comparing.outcome import Outcome
    from comparing.tables import lower_rates

    plan = replace(plan, seeds=[0, 1, 2], curve_seeds=[1])
    choose(plan, {"lora": 1e-3, "soma": 3e-3})  # a factor of 3 costs 0.055, of 10/3 0.060
    plan = replace(plan, tolerance=0.07)
    assert {way: plan.lower_rate(way) for way in GRIDS} == {"frozen": 0.02, "lora": 3e-4, "soma": 1e-3}
    assert replace(plan, tolerance=0.058).lower_rate("lora") == 1e-3
    while wanted := [job for job in plan.wanted() if job.chosen]:
        finish(plan, wanted[0])
    wanted = plan.wanted()
    assert {(job.way, job.rate, job.seed) for job in wanted} == {
        (way, rate, seed) for way, rate in (("lora", 3e-4), ("soma", 1e-3)) for seed in (0, 2)
    }
    for job in wanted:
        finish(plan, job, 0.45, {job.fold: 0.25 + job.seed / 100})
    assert all(job.seed == 1 for job in plan.wanted())  # the curve is last
    found = Outcome.of("x", plan)
    assert found.lower["frozen"].rate == found.scores["frozen"].rate
    assert found.lower["lora"].seeds == [0, 2]
    lines = list(lower_rates([found]))
    assert lines[2:] == [
        "| x: lora | 0.001 | 0.0003 | 2 | -5.0 | +1.0 [-11.7 to +13.7] |",
        "| x: soma | 0.003 | 0.001 | 2 | -5.0 | +1.0 [-11.7 to +13.7] |",
    ]


def test_ways_at_their_lower_rates_are_compared_as_at_their_best_ones():
    import compare

    two = [outcome(each, lower={"lora": (0.5, 0.7), "soma": (0.5, 0.7)}) for each in ("streets", "cells")]
    lines = list(compare.at_lower_rates(two))
    assert "| streets: lora | 0.001 | 0.0003 | 2 | -0.5 | +10.0 [**+10.0 to +10.0**] |" in lines
    assert [line for line in lines if line.startswith("| soma - lora | +0.0 ")]


def test_a_rate_that_diverges_counts_0(plan):
    from comparing.records import Record

    values = {"way": "lora", "rate": 1e-3, "left_out": "here", "seed": 100, "validation": {}, "diverged": "loss is NaN"}
    assert Record.of(values).validation == 0


def test_results_of_one_domain_left_out_are_read_as_they_were_written():
    from comparing.records import Record

    values = {
        "way": "soma, all blocks", "rate": 0.003, "left_out": "pacs-sketch", "seed": 1,
        "validation": {"pacs-photo": 0.9, "pacs-cartoon": 0.8}, "steps": 200, "batch": 24, "crop": [144, 144],
        "score": 0.5, "images": 3929, "by_class": {"dog": 0.4}, "details": {},
    }  # fmt: skip
    record = Record.of(values)
    assert (record.fold, dict(record.scores)) == ("pacs-sketch", {"pacs-sketch": 0.5})
    assert record.validation == pytest.approx(0.85)
    assert record.equal == {"rate_under": "[]", "steps": "200", "batch": "24", "crop": "[144, 144]"}


def test_runs_of_other_weights_are_not_compared(plan):
    from comparing.records import Job

    jobs = [Job("lora", 1e-3, "here", seed, unseen=True) for seed in (0, 1)]
    for job, weights in zip(jobs, ("abc", "abd"), strict=True):
        values = {"way": "lora", "rate": 1e-3, "fold": "here", "seed": job.seed, "validation": {}, "steps": 9}
        plan.results.write(job, {**values, "weights": weights})
    assert plan.results.unequal({"steps": "9"}) == "weights abd in place of abc"
    assert plan.results.unequal({"steps": "9", "weights": "abd"}) == "weights abc in place of abd"
    assert plan.results.unequal({"steps": "8"}) == "steps 9 in place of 8"
    plan.results.write(jobs[1], {**values, "weights": "abc"})
    assert plan.results.unequal({"steps": "9"}) == ""
    assert plan.results.unequal({"rate_under": "['fog@3']"}) == "rate_under [] in place of ['fog@3']"


def test_rates_may_be_chosen_under_corruptions_which_the_runs_that_are_reported_do_not_see():
    from dataclasses import replace

    from comparing.records import Job
    from comparing.running import config_of
    from comparing.settings import SETTINGS

    setting = replace(SETTINGS["world"], rate_under=("fog@3",))
    choosing, judged = (config_of(setting, [], Job("soma", 1e-3, "world", 0, unseen)) for unseen in (False, True))
    assert choosing.evaluation.source_under == ("fog@3",)
    assert judged == config_of(SETTINGS["world"], [], Job("soma", 1e-3, "world", 0, True))


def test_files_have_names_without_signs():
    from comparing.records import Job

    assert str(Job("soma, all blocks", 3e-3, "sketch", 1, unseen=True).file) == "soma-all-blocks/sketch-1.json"
    job = Job("lora, SoMA's blocks", 3e-3, "sketch", 100, unseen=False)
    assert str(job.file) == "rates/lora-SoMAs-blocks/0.003-sketch-100.json"


@pytest.mark.parametrize("name", ["pacs", "world", "camvid", "nuclei"])
def test_while_a_rate_is_chosen_a_run_has_no_unseen_domain_and_all_share_the_head_rate(name, tmp_path):
    from comparing.records import Job
    from comparing.running import config_of
    from comparing.settings import SETTINGS

    (tmp_path / "data" / "pacs").mkdir(parents=True)
    setting = SETTINGS[name].at(tmp_path)
    preset = setting.config()
    folds = setting.folds(preset)
    heads = set()
    for way in setting.ways:
        rate = setting.grid(way, preset)[0]
        choosing, judged = (config_of(setting, [], Job(way, rate, folds[0].domain, 100, u)) for u in (False, True))
        assert choosing.unseen == []
        assert choosing.source == judged.source
        assert not {source.data for source in judged.source} & set(judged.unseen)
        assert judged.unseen
        assert choosing.seed == 100
        if way != "frozen":
            assert choosing.training.backbone_lr == rate
            heads.add(choosing.training.lr)
    assert len(heads) == 1
    assert not set(setting.seeds) & set(setting.rate_seeds)


def test_the_world_shows_other_scenes_with_another_seed():
    from comparing.records import Job
    from comparing.running import config_of
    from comparing.settings import SETTINGS

    job = Job("soma", 1e-3, "world", 100, unseen=False)
    assert config_of(SETTINGS["world"], [], job).world.seed == 100


def test_soma_without_its_start_differs_in_the_start_alone():
    from comparing.ways import WAYS

    from minorkey.adapters.options import MethodOptions

    other = MethodOptions(**WAYS["lora, SoMA's blocks"].method)
    soma = MethodOptions(name="soma")
    assert other.spec.start is None
    assert not other.spec.residual
    for blocks in (8, 12, 24):
        assert other.spec.default_first_block(blocks) == soma.spec.default_first_block(blocks)
    assert other.trains_biases == soma.trains_biases
    assert other.spec.anneals_weight_decay == soma.spec.anneals_weight_decay


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


def test_a_rate_counts_as_tried_when_all_its_runs_are_there(plan):
    from dataclasses import replace

    plan = replace(plan, rate_seeds=[100, 101])
    first, *others = [job for job in plan.wanted() if (job.way, job.rate) == ("lora", 1e-3)]
    finish(plan, first)
    assert plan.tried() == {}
    for job in others:
        finish(plan, job)
    assert plan.tried() == {"lora": [1e-3]}


def test_a_page_keeps_what_is_around_its_figures(tmp_path):
    from comparing.page import write_blocks

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- scores -->\nold\n<!-- end of scores -->\nafter\n")
    write_blocks(page, {"scores": "| new |"})
    assert page.read_text() == "before\n<!-- scores -->\n\n| new |\n\n<!-- end of scores -->\nafter\n"
    with pytest.raises(SystemExit, match="lacks '<!-- rates -->'"):
        write_blocks(page, {"rates": ""})


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--rate-seeds", "1", "2"], "seed 1 chooses rates and is reported"),
        (["--curve-seeds", "9"], "curve seed 9 is none of the seeds that are reported"),
    ],
)
def test_seeds_that_do_not_go_together(monkeypatch, options, error):
    import compare

    monkeypatch.setattr("sys.argv", ["compare.py", "demo_quick", "--table", "--seeds", "0", "1", *options])
    with pytest.raises(SystemExit, match=error):
        compare.main()


def test_without_seeds_rates_are_chosen_and_no_more(plan):
    from dataclasses import replace

    plan = replace(plan, seeds=[])
    choose(plan, {"lora": 1e-3, "soma": 3e-3})
    assert plan.wanted() == []


def test_a_comparison_in_small(make_config, tmp_path, monkeypatch, capsys):
    import compare

    preset, results = tmp_path / "tiny.yaml", tmp_path / "results"
    config = make_config(unseen=["world:night", "world:fog"])
    save_config(config, preset)
    ways = ["--ways", "frozen", "lora, SoMA's blocks", "--seeds", "0"]
    monkeypatch.setattr("sys.argv", ["compare.py", str(preset), "--results", str(results), *ways])
    assert compare.main() == 0
    for file in (results / "tiny" / "rates").rglob("*.json"):
        assert json.loads(file.read_text())["scores"] == {}
    run = json.loads((results / "tiny" / "lora-SoMAs-blocks" / "tiny-0.json").read_text())
    assert set(run["scores"]) == {"night", "fog"}
    assert run["weights"] == compare.weights_of(config)
    assert "| frozen | 0.001 |" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["compare.py", str(preset), "--results", str(results), "training.steps=3"])
    with pytest.raises(SystemExit, match="has runs of steps 4 in place of 3; give another --results"):
        compare.main()
