"""minorkey tune: rates by the source alone, what is finished is kept, and what the page says."""

import csv
import json
import re
import shutil
from pathlib import Path
from statistics import fmean

import pytest
import yaml
from typer.testing import CliRunner

from minorkey.cli import app
from minorkey.config import resolve
from minorkey.errors import ConfigError, DataError, TrainingError
from minorkey.reporting.tuned import after_tuning, tuned_page
from minorkey.runs.rates import choose_rate
from minorkey.runs.train import train
from minorkey.runs.tune import Choice, Trial, _trial, tune
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.table import task_named


@pytest.fixture
def preset(make_config, street_folder, tmp_path) -> Path:
    """A training whose unseen domain cannot be read."""
    broken = street_folder("broken")
    for image in broken.glob("images/**/*.png"):
        image.write_bytes(b"no image")
    config = make_config(unseen=[str(broken)], method="lora", training={"steps": 3}, evaluation={"source": False})
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return file


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "tune.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("best", "tried", "chosen"),
    [
        (1e-3, [3e-4, 1e-3, 3e-3], 1e-3),
        (1.0, [3e-4, 1e-3, 3e-3, 9e-3, 0.03], 0.03),  # two steps, and no further
        (1e-6, [3e-5, 1e-4, 3e-4, 1e-3, 3e-3], 3e-5),
    ],
)
def test_a_grid_goes_on_at_its_edges(best, tried, chosen):
    scores: dict[float, float] = {}
    while True:
        rate, missing = choose_rate([3e-4, 1e-3, 3e-3], scores.get)
        if not missing:
            break
        scores |= {each: -abs(each / best - best / each) for each in missing}
    assert (rate, sorted(scores)) == (chosen, tried)


@pytest.mark.parametrize("grid", [[1e-4, 1.2e-4], [1.9e-4, 2.1e-4]])
def test_a_fine_grid_goes_on_beyond_its_edges(grid):
    for best in (0, 1):
        _, (beyond,) = choose_rate(grid, {rate: float(place == best) for place, rate in enumerate(grid)}.get)
        assert beyond > grid[1] if best else beyond < grid[0]


def test_a_trial_warms_up_for_as_large_a_part_of_it(preset, console, tmp_path):
    lengths = {"warmup": 2, "decay_from": 2, "horizon": 8, "milestones": [2], "weight_ema_from": 4}
    given = {"training": {**lengths, "steps": 4, "choose": "ema", "schedule": "steps"}}
    tune(preset, given, out=tmp_path / "out", rates=[1e-3], steps=2, console=console)
    (trial,) = [folder for folder in (tmp_path / "out").iterdir() if folder.is_dir()]
    training = yaml.safe_load(RunFolder(trial).config.read_text())["training"]
    assert (training["steps"], training["warmup"]) == (2, 1)
    assert (training["decay_from"], training["horizon"], training["milestones"]) == (1, 4, [1])
    assert training["weight_ema_from"] == 2


def test_a_trial_that_could_not_be_judged_is_refused_before_it_is_trained(preset, console, tmp_path):
    given = {"regime": "self_training", "target": "world:dusk", "self_training": {"warmup": 2}}
    with pytest.raises(ConfigError, match=r"a trial of 1 steps cannot be trained: .*warmup is 1 of 1 steps"):
        tune(preset, given, out=tmp_path / "out", rates=[1e-3], steps=1, console=console)
    assert not list((tmp_path / "out").glob("*/log.jsonl"))


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"steps": 0}])
def test_no_trials_are_refused(preset, console, tmp_path, wrong):
    with pytest.raises(ConfigError, match="seeds and steps are 1 or more"):
        tune(preset, out=tmp_path / "out", rates=[1e-3], console=console, **wrong)


def test_rates_are_chosen_on_the_source_and_nothing_unseen_is_opened(preset, console, tmp_path):
    out = tmp_path / "out"
    (choice,) = tune(preset, out=out, rates=[1e-4, 1e-3, 1e-2], seeds=2, tolerance=0, console=console)
    tried = choice.tried()
    assert choice.rate == max(tried, key=tried.get)
    found = rows(out)
    assert {row["seed"] for row in found} == {"100", "101"}
    assert {float(row["rate"]) for row in found if row["chosen"] == "True"} == {choice.rate}
    assert all((out / f"lora-{rate:g}-100" / "metrics.json").is_file() for rate in tried)
    chosen = resolve(choice.file)
    assert chosen == resolve(preset, {"training": {"backbone_lr": choice.rate}})
    with pytest.raises(DataError, match="broken"):  # which the training itself would have opened
        train(chosen, tmp_path / "run", console=console)


def test_the_source_counts_under_corruptions_as_well(preset, console, tmp_path):
    out, under = tmp_path / "out", ["gaussian_noise@5", "fog@3"]
    (choice,) = tune(preset, out=out, rates=[1e-3], under=under, console=console)
    domains = json.loads((out / "lora-0.001-100" / "metrics.json").read_text())["domains"]
    assert [domain["domain"] for domain in domains] == ["clear", "clear+gaussian_noise@5", "clear+fog@3"]
    assert choice.tried()[1e-3] == pytest.approx(fmean(domain["score"] for domain in domains))
    assert not resolve(choice.file).evaluation.source_under, "they choose, and the training is judged as it was"
    assert "also under gaussian_noise@5, fog@3" in choice.file.read_text()
    assert "as they are and under gaussian_noise@5, fog@3" in tuned_page([choice], out).read_text()
    with pytest.raises(ConfigError, match="unknown corruption 'fogg'.*fog"):
        tune(preset, out=tmp_path / "other", rates=[1e-3], under=["fogg@3"], console=console)


def test_it_goes_on_where_it_stopped(preset, console, tmp_path):
    out = tmp_path / "out"
    first = tune(preset, out=out, rates=[1e-4, 1e-3, 1e-2], console=console)
    made = {path: path.stat().st_mtime_ns for path in out.glob("*/training.json")}
    lost = next(iter(made))
    for name in ("training.json", "metrics.json", "head.safetensors"):
        (lost.parent / name).unlink()
    again = tune(preset, out=out, rates=[1e-4, 1e-3, 1e-2], console=console)
    assert [choice.tried() for choice in again] == [choice.tried() for choice in first]
    assert {path for path, time in made.items() if path.stat().st_mtime_ns != time} == {lost}
    with pytest.raises(ConfigError, match=r"another configuration .*training\.steps"):
        tune(preset, out=out, rates=[1e-4], steps=2, console=console)


@pytest.mark.thorough
def test_methods_have_rates_of_their_own_around_the_preset_s(preset, console, tmp_path):
    frozen, lora = tune(
        preset,
        {"method": {"name": "lora", "rank": 2}},
        out=tmp_path,
        methods=["frozen", "lora"],
        steps=1,
        console=console,
    )
    assert (frozen.key, lora.key) == ("training.lr", "training.backbone_lr")
    assert {0.00033, 0.001, 0.003} <= frozen.tried().keys()
    assert resolve(lora.file).method.rank == 2
    page = tuned_page([frozen, lora], tmp_path).read_text()
    assert page.count("All alike.") == frozen.flat + lora.flat
    assert page.count("At an edge.") == frozen.at_edge + lora.at_edge
    assert "No image of an unseen domain was opened" in page
    assert [step.command for step in after_tuning([frozen, lora])] == [
        f"minorkey train {tmp_path / 'frozen.yaml'} --out runs/frozen",
        f"minorkey train {tmp_path / 'lora.yaml'} --out runs/lora",
        "minorkey report runs/frozen runs/lora",
    ]


@pytest.mark.parametrize(("rate", "edge"), [(1.0, True), (2.0, False), (3.0, True)])
def test_a_choice_at_the_edge_of_what_was_tried_is_said(tmp_path, rate, edge):
    metric = task_named("segmentation").metric("miou")
    trials = [Trial("lora", each, 100, 0.5 - abs(each - rate)) for each in (1.0, 2.0, 3.0)]
    choice = Choice("lora", "training.backbone_lr", rate, trials, metric, 3, (), 0.0, tmp_path / "lora.yaml")
    assert choice.at_edge == edge
    page = tuned_page([choice], tmp_path).read_text()
    assert ("At an edge." in page) == edge
    assert ("a frozen backbone does as well" in page) == (rate == 1.0)
    (named,) = re.findall(r"<text[^>]*>lora</text>", page)
    assert "currentColor" in named, "readable on a dark page too"


@pytest.mark.parametrize(
    ("scores", "tolerance", "flat"),
    [
        ((0.651, 0.652, 0.650), 0.5, True),
        ((0.651, 0.657, 0.650), 0.5, False),
        ((0.651, 0.652, None), 0.5, False),
        ((0.651, 0.652, 0.650), 0.0, False),
        ((0.651,), 0.5, False),
    ],
)
def test_rates_that_the_source_does_not_tell_apart_are_said(tmp_path, scores, tolerance, flat):
    metric = task_named("segmentation").metric("miou")
    trials = [Trial("lora", float(place), 100, score) for place, score in enumerate(scores, 1)]
    choice = Choice("lora", "training.backbone_lr", 1.0, trials, metric, 3, (), tolerance, tmp_path / "lora.yaml")
    assert choice.flat == flat
    page = tuned_page([choice], tmp_path).read_text()
    assert ("All alike.</b> No rate of lora that was tried is more than 0.5 points below another" in page) == flat
    assert ("At an edge." in page) == choice.at_edge
    assert not (flat and choice.at_edge)


@pytest.mark.thorough
def test_the_lowest_rate_that_is_nearly_as_good_is_taken(preset, console, tmp_path):
    out, grid = tmp_path / "out", [1e-4, 1e-3, 1e-2]
    (best,) = tune(preset, out=out, rates=grid, tolerance=0, console=console)
    tried = {rate: 100 * score for rate, score in best.tried().items()}
    assert best.rate == best.best > min(tried), "else there is nothing lower to take"
    short = tried[best.rate] - tried[min(tried)]
    (lowest,) = tune(preset, out=out, rates=grid, tolerance=short + 1e-6, console=console)
    assert (lowest.rate, lowest.best, lowest.at_edge) == (min(tried), best.best, best.at_edge)
    assert resolve(lowest.file).training.backbone_lr == lowest.rate
    assert f"as the lowest nearly as good as {best.best:g}" in lowest.file.read_text()
    assert "the lowest was taken" in tuned_page([lowest], out).read_text()
    assert "the lowest was taken" not in tuned_page([best], out).read_text()
    (none,) = tune(preset, out=out, rates=grid, tolerance=min(_gaps(tried)) / 2, console=console)
    assert none.rate == best.rate
    (usual,) = tune(preset, out=out, rates=grid, console=console)
    assert usual.rate == min(rate for rate, score in tried.items() if score >= tried[best.rate] - 0.5)
    with pytest.raises(ConfigError, match="--tolerance is a number, 0 or more, got -1"):
        tune(preset, out=out, tolerance=-1, console=console)


def _gaps(tried: dict[float, float]) -> list[float]:
    """By how much lower rates are below the best one."""
    best = max(tried, key=tried.__getitem__)
    return [tried[best] - score for rate, score in tried.items() if rate < best]


def test_a_rate_that_diverges_is_not_chosen_nor_tried_again(preset, console, tmp_path):
    config = {"method": "full", "training": {"log_every": 1, "checkpoint_every": 1}}
    (choice,) = tune(preset, config, out=tmp_path / "out", rates=[1e-4, 1e18], console=console)
    tried = choice.tried()
    assert tried[1e18] is None
    assert choice.rate < 1e18
    assert "full-1e+18-100" in {path.parent.name for path in (tmp_path / "out").glob("*/diverged.txt")}
    log = RunFolder(tmp_path / "out" / "full-1e+18-100").log
    before = log.stat().st_mtime_ns if log.exists() else None
    tune(preset, config, out=tmp_path / "out", rates=[1e-4, 1e18], console=console)
    assert (log.stat().st_mtime_ns if log.exists() else None) == before
    assert "diverged" in tuned_page([choice], tmp_path / "out").read_text()
    with pytest.raises(TrainingError, match="every rate of full diverged; give lower --rates"):
        tune(preset, config, out=tmp_path / "alone", rates=[1e18], console=console)


@pytest.mark.parametrize(
    ("given", "rates", "said"),
    [
        ({"training": {"choose": "oracle"}}, [], "oracle, which judges on unseen domains"),
        ({}, [1e-3, -1.0], "--rates are numbers above 0, got 0.001, -1"),
    ],
)
def test_what_is_not_chosen_by_the_source_is_refused(preset, console, tmp_path, given, rates, said):
    with pytest.raises(ConfigError, match=said):
        tune(preset, given, out=tmp_path / "out", rates=rates, console=console)
    assert not (tmp_path / "out").exists()


def test_a_source_without_validation_images_is_said(preset, console, tmp_path, street_folder):
    streets = street_folder()
    for kind in ("images", "labels"):
        shutil.rmtree(streets / kind / "val")
    with pytest.raises(ConfigError, match="no source has validation images, by which rates are chosen"):
        tune(preset, {"source": str(streets)}, out=tmp_path / "out", console=console)


def test_files_of_others_are_left_alone(preset, console, tmp_path):
    (tmp_path / "lora.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=r"lora\.yaml.* not part of a choice of rates"):
        tune(preset, out=tmp_path, console=console)
    assert (tmp_path / "lora.yaml").read_text() == "mine"


def test_nor_beside_a_run_that_is_no_trial(preset, console, tmp_path):
    own = tmp_path / "lora.yaml"
    own.write_text("# mine\n" + preset.read_text())
    (tmp_path / "oldrun").mkdir()
    (tmp_path / "oldrun" / "log.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="lora.yaml"):
        tune(own, {"method": "lora"}, out=tmp_path, rates=[1e-3], console=console)
    assert own.read_text().startswith("# mine")


def test_the_command(preset, tmp_path):
    out = tmp_path / "out"
    options = ["--rates", "1e-3", "--steps", "1", "--under", "fog@3", "--out", str(out)]
    run = CliRunner().invoke(app, ["tune", str(preset), *options])
    assert run.exit_code == 0, run.output
    assert "lora: training.backbone_lr=0.001, mIoU" in run.output
    assert f"page: {out / 'tune.html'}" in run.output
    assert f"minorkey train {out / 'lora.yaml'} --out runs/lora" in run.output
    assert (out / "tune.html").is_file()
    failed = CliRunner().invoke(app, ["tune", str(preset), "--rates", "a,b"])
    assert "numbers with commas" in str(failed.exception)


def test_the_lengths_of_a_regime_are_shorter_in_a_trial_too():
    long = {"training": {"steps": 60, "warmup": 0}, "target": "world:night"}
    alone = resolve("demo_quick", long | {"regime": "self_training", "self_training": {"warmup": 30}})
    assert _trial(alone, "lr", 1e-3, 0, steps=12).self_training.warmup == 6
    assert _trial(alone, "lr", 1e-3, 0, steps=None).self_training.warmup == 30
    rounds = resolve("demo_quick", long | {"regime": "transda", "transda": {"warmup_steps": 40}})
    assert _trial(rounds, "lr", 1e-3, 0, steps=12).transda.warmup_steps == 8
