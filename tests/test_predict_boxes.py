"""`minorkey predict` on a detection run: files, resuming, and parts of jobs."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import minorkey
from minorkey.errors import StorageError
from minorkey.runs.predict import predict_folder
from minorkey.runs.train import train


@pytest.fixture(scope="module")
def run(make_config, tmp_path_factory) -> Path:
    """A detector that has learnt for a step; read only."""
    folder = tmp_path_factory.mktemp("detection") / "run"
    config = make_config(
        task="detection",
        label_space="weather7",
        head={"name": "rt_detr_v2", "channels": 32, "queries": 10, "encoder_layers": 1, "decoder_layers": 2},
        training={"steps": 1},
        evaluation={"pictures": 0, "images": 1},
    )
    train(config, folder, console=Console(file=io.StringIO()))
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    for index in range(5):
        file = tmp_path / "photos" / ("day" if index % 2 else "night") / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (40, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return tmp_path / "photos"


def names(folder: Path, suffix: str) -> list[str]:
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob(f"*{suffix}"))


ALL = ["day/1", "day/3", "night/0", "night/2", "night/4"]


def test_a_picture_and_boxes_for_each_and_coco_results_of_all(run, images, console, tmp_path) -> None:
    out = tmp_path / "out"
    assert predict_folder(run, str(images), out, console=console).written == 5
    assert names(out / "boxes", ".json") == names(out / "overlays", ".jpg") == ALL
    with Image.open(out / "overlays" / "day" / "1.jpg") as picture:
        assert picture.size == (70, 40)
    results = json.loads((out / "predictions.json").read_text())
    predictor = minorkey.load(run, device="cpu")
    said = [entry for name in ALL for entry in predictor.predict(images / f"{name}.png").to_coco(f"{name}.png")]
    assert results == said
    assert len(results) > 0
    classes = json.loads((out / "classes.json").read_text())
    assert all(classes[str(entry["category_id"])] == entry["category_name"] for entry in results)


def test_parts_write_results_of_their_own_and_a_last_job_the_whole(run, images, console, tmp_path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    for index in (2, 1):
        predict_folder(run, str(images), out, shard=(index, 2), console=console)
    parts = [json.loads((out / f"predictions-{index}-of-2.json").read_text()) for index in (1, 2)]
    assert {entry["image_id"] for entry in parts[0]} == {f"{name}.png" for name in ALL[::2]}
    assert not (out / "predictions.json").exists()
    done = predict_folder(run, str(images), out, console=console)
    assert (done.written, done.skipped) == (0, 5)
    predict_folder(run, str(images), whole, console=console)
    assert (out / "predictions.json").read_bytes() == (whole / "predictions.json").read_bytes()


def test_a_broken_image_is_named_and_left_out(run, images, command, tmp_path) -> None:
    (images / "day" / "broken.png").write_text("no image")
    code, error = command("predict", run, images, "--out", tmp_path / "out")
    assert code == 2
    assert str(images / "day" / "broken.png") in error
    results = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {entry["image_id"] for entry in results} == {f"{name}.png" for name in ALL}


def test_a_damaged_file_of_boxes_is_named(run, images, console, tmp_path) -> None:
    out = tmp_path / "out"
    predict_folder(run, str(images), out, console=console)
    (out / "boxes" / "day" / "1.json").write_text("[")
    with pytest.raises(StorageError, match=r"cannot read '.*1\.json': .*; delete it and predict again"):
        predict_folder(run, str(images), out, console=console)
