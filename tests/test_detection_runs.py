"""Detection from the configuration to the page: the same commands, loop and run folder as segmentation."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapting import assert_same_files, assert_same_training, read_log
from PIL import Image
from rich.console import Console

from minorkey.errors import ConfigError
from minorkey.reporting.page import build_report
from minorkey.runs.load import load
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.training.checkpoint import checkpoints

DETECTION: dict[str, Any] = {
    "task": "detection",
    "label_space": "weather7",
    "world": {"size": [128, 64], "train_count": 6, "eval_count": 2},
    "head": {"name": "rt_detr_v2", "channels": 32, "queries": 6, "decoder_layers": 2},
    "transform": {"crop": [64, 64], "scale_jitter": [0.8, 1.6]},
    "training": {"steps": 4, "snapshots": 2},
}
ADAPTING = {
    "target": "world:night",
    "regime": "self_training",
    "teacher": {"name": "adapter_ema", "momentum": 0.7},
    "self_training": {"threshold": 0.02, "warmup": 1},
}
DETECTIONS = "detections.safetensors"

CASES = {
    "supervised": DETECTION,
    "auxiliary": DETECTION | {"head": {**DETECTION["head"], "auxiliary": "atss"}, "evaluation": {"source": False}},
    "self_training": DETECTION | ADAPTING | {"evaluation": {"source": False}},
}


@pytest.fixture(scope="module")
def runs(make_config, tmp_path_factory):
    """Finished runs by case; read only."""
    done: dict[str, RunFolder] = {}

    def run(name: str) -> RunFolder:
        if name not in done:
            done[name] = RunFolder(tmp_path_factory.mktemp("runs") / name)
            train(make_config(**CASES[name]), done[name].path, console=Console(quiet=True))
        return done[name]

    return run


def test_a_run_is_judged_by_average_precision(runs):
    scores = json.loads(runs("supervised").metrics.read_text())
    assert scores["task"] == "detection"
    assert (scores["protocol"]["metric"], scores["protocol"]["detections"]) == ("coco", 100)
    assert [(domain["domain"], domain["role"]) for domain in scores["domains"]] == [
        ("clear", "source"),
        ("night", "unseen"),
    ]
    assert (runs("supervised").path / DETECTIONS).is_file()
    assert not (runs("supervised").path / "confusions.safetensors").exists()


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_ends_as_an_uninterrupted_one(runs, make_config, tmp_path, name):
    whole = runs(name)
    folder = RunFolder(Path(shutil.copytree(whole.path, tmp_path / "run")))
    for path in (folder.metrics, folder.path / DETECTIONS, folder.cost, folder.head):
        path.unlink()
    shutil.rmtree(folder.adapter)
    shutil.rmtree(checkpoints(folder.checkpoints)[-1])
    train(make_config(**CASES[name]), folder.path, resume=True, console=Console(quiet=True))
    assert_same_training(folder, whole)
    assert_same_files(folder.path / DETECTIONS, whole.path / DETECTIONS)


def test_the_auxiliary_head_learns_and_is_not_deployed(runs):
    first = next(record for record in read_log(runs("auxiliary")) if "loss" in record)
    assert {"atss_class", "atss_box", "atss_centerness"} <= first.keys()
    model = load(runs("auxiliary").path, device="cpu").model
    assert not [name for name, _ in model.named_modules() if "auxiliary" in name]


def test_adapting_learns_boxes_of_the_teacher_after_the_warm_up(runs):
    first, *later = [record for record in read_log(runs("self_training")) if "loss" in record]
    assert "target" not in first
    assert all(record["target"] > 0 for record in later)
    assert {"confidence", "kept", "pseudo_classes", "source_classes"} <= first.keys()


def test_the_page_shows_boxes(runs, tmp_path):
    page = build_report([runs("supervised").path, runs("self_training").path], tmp_path / "page.html").read_text()
    assert "AP" in page
    assert "mIoU" not in page
    assert "false alarm" in page


def test_a_prediction_is_boxes(runs, command, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(photos / f"{name}.png")
    code, error = command("predict", runs("supervised").path, photos, "--out", tmp_path / "out")
    assert (code, error.count("minorkey:")) == (0, 0)
    results = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {entry["image_id"] for entry in results} == {"a.png", "b.png"}
    assert Image.open(tmp_path / "out" / "overlays" / "a.jpg").size == (96, 64)
    assert 'src="overlays/b.jpg"' in (tmp_path / "out" / "predictions.html").read_text()


def test_other_weights_may_be_judged_on_other_domains(runs, command):
    run = runs("supervised").path
    code, _ = command("evaluate", run, "--unseen", "world:fog", "evaluation.metric=voc07", "evaluation.source=false")
    assert code == 0
    (metrics,) = (run / "evaluations").glob("*/metrics.json")
    scores = json.loads(metrics.read_text())
    assert [domain["domain"] for domain in scores["domains"]] == ["fog"]
    assert scores["protocol"]["metric"] == "voc07"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"head": {"name": "semfpn"}}, "head semfpn does not do detection; set head to one of deformable_detr"),
        ({"task": "segmentation"}, "head rt_detr_v2 does not do segmentation; set head to one of linear"),
        ({"evaluation": {"metric": "miou"}}, "evaluation.metric miou does not score detection; leave it out"),
        ({"evaluation": {"flip": True}}, "evaluation.flip is for segmentation"),
        ({"evaluation": {"scales": [1.0, 2.0]}}, "evaluation.scales is for segmentation"),
        ({"training": {"rare_classes": 0.1}}, "training.rare_classes counts labelled pixels"),
        (ADAPTING | {"regime": "transda"}, "regime transda is for segmentation; set regime to self_training"),
        (ADAPTING | {"self_training": {"warmup": 4}}, "self_training.warmup is 4 of 4 steps"),
    ],
)
def test_what_does_not_go_with_detection(make_config, changes, expected):
    with pytest.raises(ConfigError, match=expected.replace(".", r"\.")):
        make_config(**(DETECTION | changes))


def test_what_does_not_go_with_segmentation(make_config):
    with pytest.raises(ConfigError, match="evaluation.metric coco does not score segmentation"):
        make_config(evaluation={"metric": "coco"})
    with pytest.raises(ConfigError, match=r"transform\.scale_jitter is for detection"):
        make_config(transform={"scale_jitter": [0.5, 2.0]})
