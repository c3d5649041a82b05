"""The demo as a newcomer meets it, on a small setting."""

import re

import pytest
import torch

import minorkey
from minorkey.errors import ConfigError
from minorkey.evaluation.scores import ScoreTable
from minorkey.models.backbone import builtin_head
from minorkey.system.storage import read_tensors

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
    return minorkey.demo(tmp_path_factory.mktemp("demo"), **SMALL)


def test_demo_judges_four_methods_on_every_other_domain(page):
    from minorkey.world import DOMAINS

    for method in ("soma", "lora", "full", "frozen"):
        table = ScoreTable.read(page.parent / method / "metrics.json")
        assert [score.domain for score in table.unseen] == [name for name in DOMAINS if name != "clear"]
        assert table.domains[0].role == "source"
        assert table.training.steps == 2
        assert 0 <= table.unseen_mean.interval[0] <= table.unseen_mean.interval[1] <= 1


def test_page_is_one_file_that_says_whether_soma_is_best(page):
    text = page.read_text()
    tables = [ScoreTable.read(path) for path in page.parent.glob("*/metrics.json")]
    best = max(tables, key=lambda table: table.unseen_mean.score)
    if best.method != "soma":
        assert re.search("SoMA is not", text)
    assert f"{100 * best.unseen_mean.score:.1f}" in text
    assert "<script" not in text
    assert not re.search(r'(src|href)="https?:', text)


def test_methods_of_one_seed_start_from_one_head(page):
    from minorkey.labels import label_space
    from minorkey.models.build import head_state
    from minorkey.runs.assemble import build_network
    from minorkey.runs.load import config_of

    heads = []
    for method in ("soma", "full"):
        config = config_of(page.parent / method)
        heads.append(head_state(build_network(config, label_space(config.label_space)).model))
    assert all((heads[0][name] == heads[1][name]).all() for name in heads[0])


def test_a_second_demo_in_the_same_folder_only_draws_the_page(page):
    before = {path: path.stat().st_mtime_ns for path in page.parent.glob("*/head.safetensors")}
    minorkey.demo(page.parent, **SMALL)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(before) == 4


def test_demo_of_detection_begins_with_the_head_that_ships(tmp_path):
    small = {"world": {"size": [128, 64], "train_count": 4, "eval_count": 2}, "transform": {"crop": [64, 128]}}
    training = {"steps": 1, "batch_size": 2, "warmup": 0, "lr": 1e-9, "backbone_lr": 1e-9}
    page = minorkey.demo(tmp_path / "demo", task="detection", quick=True, **small, training=training)
    table = ScoreTable.read(page.parent / "soma" / "metrics.json")
    assert [score.domain for score in table.unseen] == ["night", "fog", "rain", "snow"]
    assert table.protocol.metric == "coco"
    trained, shipped = (
        read_tensors(folder / "head.safetensors") for folder in (page.parent / "soma", builtin_head())
    )
    assert all(torch.allclose(trained[name], shipped[name], atol=1e-6) for name in shipped)


def test_demo_of_an_unknown_task_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'depth'.*segmentation"):
        minorkey.demo(tmp_path, task="depth")
