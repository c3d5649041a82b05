"""Which runs a comparison wants, and with what settings."""

import pytest
from planned import GRIDS, choose, finish


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


def test_a_rate_counts_as_tried_when_all_its_runs_are_there(plan):
    from dataclasses import replace

    plan = replace(plan, rate_seeds=[100, 101])
    first, *others = [job for job in plan.wanted() if (job.way, job.rate) == ("lora", 1e-3)]
    finish(plan, first)
    assert plan.tried() == {}
    for job in others:
        finish(plan, job)
    assert plan.tried() == {"lora": [1e-3]}


def test_without_seeds_rates_are_chosen_and_no_more(plan):
    from dataclasses import replace

    plan = replace(plan, seeds=[])
    choose(plan, {"lora": 1e-3, "soma": 3e-3})
    assert plan.wanted() == []
