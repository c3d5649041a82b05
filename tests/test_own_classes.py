"""A run on one's own data holds its classes: what named them may move, change or go."""

import json
import shutil

import pytest
import yaml

import minorkey
from minorkey.config import load_config, save_config
from minorkey.errors import ConfigError
from minorkey.evaluation.scores import ScoreTable
from minorkey.labels import label_space
from minorkey.reporting.runs import read_run
from minorkey.reporting.tables import build_grid
from minorkey.runs.api import resume
from minorkey.runs.evaluate import evaluate
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import write_text

FILE = "classes:\n  road: {colour: [9, 8, 7], accepts: [way]}\n  car: [1, 2, 3]\nignores: [sky]\n"
ONE_STEP = {"steps": 1, "checkpoint_every": 1}


@pytest.fixture
def streets(street_folder):
    return street_folder()


@pytest.fixture
def config_for(make_config, streets, tmp_path):
    def make(text=FILE, name="farm.yaml", **changes):
        file = tmp_path / "spaces" / name
        write_text(file, text)
        own = {"source": str(streets), "unseen": f"{streets}:val+fog@2", "evaluation": {"pictures": 1}}
        return make_config(**own, label_space=str(file), training=ONE_STEP, **changes)

    return make


@pytest.fixture
def moved(config_for, streets, tmp_path, console):
    """A run whose file of classes is gone, and whose data names other classes in another order by now."""
    train(config_for(), tmp_path / "run", console=console)
    shutil.rmtree(tmp_path / "spaces")
    (streets / "dataset.yaml").write_text("ids: {1: way, 0: sky, 255: ignore}\n")
    return (tmp_path / "run").rename(tmp_path / "elsewhere")


def test_everything_goes_on_without_what_named_the_classes(moved, streets, tmp_path, console):
    predictor = minorkey.load(moved)
    assert (predictor.space.name, predictor.space.classes) == ("farm", ("road", "car"))
    assert predictor.space.colours.tolist() == [[9, 8, 7], [1, 2, 3]]
    scores = minorkey.evaluate(moved, evaluation={"flip": True})
    assert (scores.label_space, scores.classes) == ("farm", ["road", "car"])
    page = minorkey.report(moved, out=tmp_path / "page.html").read_text()
    assert "#090807" in page or "rgb(9 8 7)" in page or "rgb(9, 8, 7)" in page, "the colours of the run"
    exported = minorkey.export_run(moved, "model", out=tmp_path / "model")
    kept = json.loads((exported.folder / "config.json").read_text())
    assert kept["id2label"] == {"0": "road", "1": "car"}
    before = ScoreTable.read(RunFolder(moved).metrics)
    RunFolder(moved).metrics.unlink()
    (streets / "dataset.yaml").write_text("ids: {0: road, 1: car, 255: ignore}\n")
    assert resume(moved, console) == before.model_copy(update={"run": moved.name})


def test_a_run_from_before_names_its_file_and_goes_on(config_for, tmp_path, console, monkeypatch):
    config = config_for()
    with monkeypatch.context() as before:
        before.setattr("minorkey.runs.train.with_classes", lambda given: given)  # as they were saved
        train(config, tmp_path / "run", console=console)
    folder = RunFolder(tmp_path / "run")
    assert load_config(folder.config).label_space == config.label_space
    scores = ScoreTable.read(folder.metrics)
    folder.metrics.unlink()
    assert resume(folder.path, console) == scores
    assert read_run(folder.path).space.colours.tolist() == [[9, 8, 7], [1, 2, 3]]
    shutil.rmtree(tmp_path / "spaces")
    assert read_run(folder.path).space.classes == ("road", "car"), "in colours of its own"
    listed = config.model_copy(update={"label_space": "road,car"})
    with monkeypatch.context() as before:
        before.setattr("minorkey.runs.train.with_classes", lambda given: given)
        train(listed, tmp_path / "listed", console=console)
    assert train(listed, tmp_path / "listed", resume=True, console=console).label_space == "road, car"


def test_runs_with_equal_classes_compare_and_a_clash_of_names_is_said(config_for, tmp_path, console):
    tables = [
        train(config_for(text, f"{number}/farm.yaml"), tmp_path / f"run{number}", console=console)
        for number, text in enumerate((FILE, FILE, "classes: [car, road]\n"))
    ]
    grid = build_grid(tables)
    assert [row.mark for row in grid.rows] == ["", "", "†"]
    assert grid.footnotes == [
        "† Not comparable with the other rows: its label space is also called 'farm', but has other classes."
    ]


def test_a_run_goes_on_from_one_with_the_same_classes_wherever_they_are_written(config_for, tmp_path, console):
    train(config_for(), tmp_path / "run", console=console)
    other = config_for("{road: , car: }", "other.yaml", head_from=str(tmp_path / "run"))
    train(other, tmp_path / "next", console=console)
    with pytest.raises(ConfigError, match="has another label_space"):
        train(config_for("[car, road]", head_from=str(tmp_path / "run")), tmp_path / "third", console=console)


def test_the_order_of_the_classes_is_no_detail(moved):
    file = RunFolder(moved).config
    values = yaml.safe_load(file.read_text())
    values["label_space"]["classes"].reverse()
    file.write_text(file.read_text().splitlines()[0] + "\n" + yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(ConfigError, match=r"is not as its run saved it.*label_space\.classes"):
        minorkey.load(moved)


def test_the_data_names_the_classes_of_a_run(streets, backbone_folder, tmp_path, console):
    given = {"source": str(streets), "backbone": str(backbone_folder), "transform": {"crop": [32, 32]}}
    training = ONE_STEP | {"batch_size": 2, "device": "cpu", "workers": 0}
    scores = minorkey.train(out=tmp_path / "run", **given, training=training, console=console)
    assert (scores.label_space, scores.classes) == ("road, car", ["road", "car"])
    config = load_config(RunFolder(tmp_path / "run").config)
    assert config.label_space == "road, car"
    save_config(config, tmp_path / "other" / "config.yaml")
    assert label_space(load_config(tmp_path / "other" / "config.yaml").label_space).classes == ("road", "car")
    assert evaluate(tmp_path / "run", console=console) == scores
