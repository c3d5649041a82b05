"""What the page shows of an image."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from minorkey.data.corruptions import Corruption
from minorkey.errors import ConfigError, DataError
from minorkey.runs.load import load
from minorkey.show.stage import MOST_PIXELS, Examples, Stage, decoded
from minorkey.world import render

SCENE = render(5, 0, size=(64, 32)).image


def picture(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(";base64,")
    assert kind == "data:image/jpeg"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


@pytest.fixture(scope="module")
def stage(finished_run, other_run) -> Stage:
    return Stage.of([finished_run.path, other_run])


def test_the_runs_are_compared_with_the_first_one(stage, finished_run, other_run):
    shown = stage.show(SCENE, None)
    here, there = (load(folder).predict(SCENE).labels for folder in (finished_run.path, other_run))
    first, second = shown["runs"]
    assert (first["name"], first["other"], first["difference"]) == (str(finished_run.path), None, None)
    assert second["other"] == f"{100 * (here != there).mean():.1f} % of the pixels differ"
    magenta = np.abs(picture(second["difference"]).astype(int) - (230, 30, 150)).max(axis=2) < 60
    assert (magenta == (here != there)).mean() > 0.9  # JPEG smears edges
    assert first["clean"] is second["clean"] is None
    assert np.abs(picture(shown["image"]).astype(int) - SCENE).mean() < 8


def test_a_corrupted_image_is_compared_with_the_clean_one(stage, finished_run):
    night = Corruption("night", 5)
    shown = stage.show(SCENE, night)
    predict = load(finished_run.path).predict
    changed = predict(SCENE).labels != predict(night.apply(SCENE, key="show")).labels
    assert shown["runs"][0]["clean"] == f"{100 * changed.mean():.1f} % of the pixels differ"
    assert picture(shown["image"]).mean() < SCENE.mean()


def test_one_run_is_compared_with_itself_on_the_clean_image(finished_run):
    stage = Stage.of([finished_run.path])
    assert stage.show(SCENE, None)["runs"][0]["other"] is None
    night = stage.show(SCENE, Corruption("night", 5))["runs"][0]
    assert night["other"] == night["clean"]
    assert picture(night["difference"]).shape == SCENE.shape


def test_windows_that_nobody_asked_for_are_said(stage):
    assert [run["windows"] for run in stage.show(SCENE, None)["runs"]] == [None, None]
    large = render(5, 0, size=(256, 128)).image  # more than 16 crops of 32x32
    assert [run["windows"] for run in stage.show(large, None)["runs"]] == [(32, 32), (32, 32)]


def test_the_legend_has_the_classes_that_were_found(stage, finished_run):
    found = stage.show(SCENE, None)["runs"][0]["found"]
    predictor = load(finished_run.path)
    labels = predictor.predict(SCENE).labels
    assert {row["name"] for row in found} == {predictor.space.classes[i] for i in np.unique(labels)}
    shares = [float(row["text"].removesuffix(" %")) for row in found]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=1)


def test_too_many_runs_and_one_twice(finished_run, tmp_path):
    with pytest.raises(ConfigError, match="5 runs were given; at most 4"):
        Stage.of([tmp_path / str(i) for i in range(5)])
    with pytest.raises(ConfigError, match="a run is named twice"):
        Stage.of([finished_run.path, finished_run.path])
    with pytest.raises(ConfigError, match="a run is named twice"):
        Stage.of([finished_run.path, finished_run.path / ".." / finished_run.path.name])
    with pytest.raises(DataError, match="no run in"):
        Stage.of([tmp_path])


def test_names_that_are_no_text_are_shown_as_escapes(tmp_path):
    file = tmp_path / "a\udcff\nb.png"
    Image.fromarray(SCENE).save(file)
    assert Examples.at(str(tmp_path)).name(0) == r"a\udcff\nb.png"


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def test_a_large_image_is_made_smaller_and_a_small_one_left_alone():
    assert np.array_equal(decoded(encoded(SCENE), 64), SCENE)
    assert decoded(encoded(SCENE), 32).shape == (16, 32, 3)
    assert decoded(encoded(SCENE.transpose(1, 0, 2)), 32).shape == (32, 16, 3)


def test_what_is_no_image_or_would_take_the_memory():
    with pytest.raises(DataError, match="the image: broken image"):
        decoded(b"<script>", 512)
    bomb = encoded(np.zeros((1, MOST_PIXELS + 1), np.uint8))
    assert len(bomb) < 2**20
    with pytest.raises(DataError, match=f"has {MOST_PIXELS + 1}x1 pixels, at most"):
        decoded(bomb, 512)


def test_examples_come_from_a_folder_or_are_drawn(street_folder):
    folder = street_folder() / "images"
    examples = Examples.at(str(folder))
    assert len(examples) == 8
    assert examples.name(0) == examples.name(8) == "0.png"
    assert np.array_equal(examples.image(8), np.asarray(Image.open(folder / "train" / "0.png")))
    drawn = Examples.at(None)
    assert drawn.image(0).shape == (128, 256, 3)
    assert not np.array_equal(drawn.image(0), drawn.image(1))
    with pytest.raises(DataError, match="names no file"):
        Examples.at("nowhere/*.png")
