"""The demo as a newcomer meets it, on a small setting."""

import re

import pytest
import torch
from adapting import assert_same_files

import minorkey
from minorkey.config import resolve
from minorkey.errors import ConfigError, MinorkeyError
from minorkey.evaluation.scores import ScoreTable
from minorkey.models.backbone import builtin_head
from minorkey.reporting.demo import METHODS, SEEDS, demo_runs
from minorkey.runs.side_by_side import train_side_by_side
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import read_tensors
from minorkey.tasks.table import TASKS, task_named

pytestmark = pytest.mark.skipif(
    not (minorkey.builtin_backbone() / "model.safetensors").is_file(), reason="no built-in backbone"
)

SMALL = {
    "world": {"size": [128, 64], "train_count": 8, "eval_count": 2},
    "transform": {"crop": [64, 64]},
    "training": {"steps": 2, "batch_size": 2, "warmup": 0, "checkpoint_every": 1},
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return minorkey.demo(tmp_path_factory.mktemp("demo"), jobs=1, **SMALL)


def test_demo_judges_the_start_and_three_methods_on_every_other_domain(page):
    from minorkey.world import DOMAINS

    names = ["start", *(f"{method}-{seed}" for method in METHODS for seed in SEEDS)]
    assert [folder.name for folder in demo_runs(page.parent)] == names
    for name in names:
        table = ScoreTable.read(page.parent / name / "metrics.json")
        assert [score.domain for score in table.unseen] == list(DOMAINS)[1:9]  # not the suburb in all weathers
        assert table.domains[0].role == "source"
        assert table.training.steps == (0 if name == "start" else 2)
        assert 0 <= table.unseen_mean.interval[0] <= table.unseen_mean.interval[1] <= 1


def test_the_start_is_the_shipped_head_as_it_is(page):
    ours = read_tensors(RunFolder(page.parent / "start").head)
    shipped = read_tensors(RunFolder(builtin_head("segmenter")).head)
    assert ours.keys() == shipped.keys()
    assert all(torch.equal(ours[name], shipped[name]) for name in shipped)


def test_page_is_one_file_that_says_whether_soma_is_best(page):
    text = page.read_text()
    scores = {}
    for path in page.parent.glob("*/metrics.json"):
        table = ScoreTable.read(path)
        scores.setdefault(path.parent.name.split("-")[0], []).append(100 * table.unseen_mean.score)
    means = {method: sum(found) / len(found) for method, found in scores.items()}
    assert len(means) == 4
    assert ("SoMA is not the best" in text) == (max(means, key=means.get) != "soma")
    assert f"{means['soma']:.1f} % mIoU" in text
    assert "over 3 seeds, paired (Student t)" in text
    assert "Against the frozen start" in text
    assert "neither the best nor the worst" in text
    assert not re.search(r'(src|href)="https?:', text)


def test_a_second_demo_in_the_same_folder_only_draws_the_page(page):
    before = {path: path.stat().st_mtime_ns for path in page.parent.glob("*/head.safetensors")}
    minorkey.demo(page.parent, **SMALL)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(before) == 10


@pytest.mark.thorough
def test_runs_beside_each_other_are_those_one_after_the_other(page, tmp_path):
    """And both are made, one of them by a process of its own."""
    made = minorkey.demo(tmp_path, quick=True, jobs=2, **SMALL).parent
    alone = tmp_path / "alone"
    for name, trained in (("full-0", "backbone"), ("soma-0", "adapter/adapter_model")):
        minorkey.train("demo_quick", out=alone / name, method=name.removesuffix("-0"), **SMALL)
        for part in ("head", trained):
            assert_same_files(*(folder / name / f"{part}.safetensors" for folder in (made, alone)))


@pytest.mark.thorough
def test_a_run_that_fails_beside_another_is_named(tmp_path):
    """Whichever of the two this process does itself."""
    unseen = {"a": "world:night", "b": str(tmp_path / "nowhere")}
    configs = {tmp_path / name: resolve("demo_quick", {**SMALL, "unseen": spec}) for name, spec in unseen.items()}
    with pytest.raises(MinorkeyError, match="nowhere"):
        train_side_by_side(configs, jobs=2)


def test_a_folder_with_other_runs_is_refused_before_anything_is_trained(page):
    with pytest.raises(ConfigError, match="holds a run with another configuration"):
        minorkey.demo(page.parent, quick=True, **SMALL)


def test_every_head_that_ships_fits_the_preset_of_its_demo():
    from minorkey.runs.start import head_start

    shipped = [name for name in TASKS.shipped if task_named(name).builtin_head]
    assert shipped == [name for name in TASKS.shipped if task_named(name).demo]
    for name in shipped:
        for suffix in ("", "_quick"):
            assert head_start(resolve(task_named(name).demo + suffix)) is not None


def test_no_head_ships_for_classes_of_images():
    from minorkey.runs.start import head_start

    config = resolve(None, {"task": "classification", "source": "photos", "head_from": "builtin"})
    with pytest.raises(ConfigError, match="head_from is 'builtin', but no head of task classification ships"):
        head_start(config)


def test_no_steps_without_a_start_are_refused():
    with pytest.raises(ConfigError, match=r"training\.steps is 0, which judges what a run begins with"):
        resolve("demo", {"training": {"steps": 0}, "head_from": None})


def test_demo_of_detection_begins_with_the_head_that_ships(tmp_path):
    small = {"world": {"size": [128, 64], "train_count": 4, "eval_count": 2}, "transform": {"crop": [64, 128]}}
    training = {"steps": 1, "batch_size": 2, "warmup": 0, "lr": 1e-9, "backbone_lr": 1e-9}
    page = minorkey.demo(tmp_path / "demo", task="detection", quick=True, jobs=1, **small, training=training)
    table = ScoreTable.read(page.parent / "soma-0" / "metrics.json")
    assert [score.domain for score in table.unseen] == ["night", "fog", "rain", "snow"]
    assert table.protocol.metric == "coco"
    trained, shipped = (
        read_tensors(folder / "head.safetensors") for folder in (page.parent / "soma-0", builtin_head("detector"))
    )
    assert all(torch.allclose(trained[name], shipped[name], atol=1e-6) for name in shipped)


def test_demo_of_an_unknown_task_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'depth'.*segmentation"):
        minorkey.demo(tmp_path, task="depth")
