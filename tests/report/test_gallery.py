import base64
import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from minorkey.errors import DataError
from minorkey.labels import colourise, label_space
from minorkey.reporting.gallery import build_gallery, classes_shown
from minorkey.reporting.runs import read_run
from minorkey.tasks.segmentation.gallery import error_map

SPACE = label_space("cityscapes19")


def decode(uri):
    return Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_error_map_is_red_exactly_where_the_prediction_is_wrong():
    image = np.full((2, 3, 3), 100, np.uint8)
    truth = np.array([[0, 1, 255], [1, 1, 0]], np.uint8)
    prediction = np.array([[0, 0, 0], [1, 0, 0]], np.uint8)
    red = (error_map(image, truth, prediction) == (226, 35, 48)).all(-1)
    assert red.tolist() == [[False, True, False], [False, True, False]]


def test_scenes_follow_the_score_table_and_hold_every_run(runs):
    loaded = [read_run(folder) for folder in runs]
    gallery = build_gallery(loaded, SPACE)
    assert list(gallery) == ["clear", "dusk", "night", "fog", "rain"]
    assert [scene.key for scene in gallery["fog"]] == ["0000", "0001"]
    assert all(len(scene.predictions) == len(runs) for scenes in gallery.values() for scene in scenes)
    assert len(build_gallery(loaded, SPACE, per_domain=1)["fog"]) == 1


def test_label_maps_keep_their_exact_colours(runs):
    loaded = [read_run(folder) for folder in runs[:1]]
    scene = build_gallery(loaded, SPACE)["night"][0]
    stored = np.asarray(Image.open(loaded[0].samples["night", "0000"] / "prediction.png"))
    truth = np.asarray(Image.open(loaded[0].samples["night", "0000"] / "truth.png"))
    assert (np.asarray(decode(scene.predictions[0].picture).convert("RGB")) == colourise(stored, SPACE)).all()
    share = (stored == truth)[truth != 255].mean()
    assert scene.predictions[0].right == pytest.approx(100 * share)


def test_wide_pictures_are_made_smaller(make_run):
    run = read_run(make_run("soma", 0.9, images=1, size=(100, 1000)))
    assert decode(build_gallery([run], SPACE)["clear"][0].image).size == (480, 48)


def test_legend_lists_the_classes_of_the_truth(runs):
    names = {SPACE.classes[i] for i in classes_shown([read_run(runs[0])], SPACE)}
    assert {"road", "sky", "car"} <= names
    assert "train" not in names


def test_a_run_without_the_sample_leaves_a_gap(make_run):
    runs = [read_run(make_run("soma", 0.9, images=2)), read_run(make_run("lora", 0.9, images=1))]
    scenes = build_gallery(runs, SPACE)["clear"]
    assert [prediction is None for prediction in scenes[1].predictions] == [False, True]


def test_error_texts(make_run):
    folder = make_run("soma", 0.9, images=1)
    place = folder / "figures" / "samples" / "clear" / "0000"
    Image.new("L", (5, 4)).save(place / "prediction.png")
    with pytest.raises(DataError, match=r"prediction\.png has size \(4, 5\), its truth \(64, 128\)"):
        build_gallery([read_run(folder)], SPACE)
    (place / "prediction.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"cannot read picture .*prediction\.png"):
        build_gallery([read_run(folder)], SPACE)


def test_a_run_on_another_version_of_an_image_has_nothing_to_show(make_run):
    first, second = (read_run(make_run("soma", 0.9, size=size)) for size in ((64, 128), (32, 64)))
    scene = build_gallery([first, second], SPACE, 1)["night"][0]
    assert scene.predictions[0] is not None
    assert scene.predictions[1] is None


def test_pictures_of_an_earlier_judging_are_not_shown(make_run):
    folder = make_run("soma", 0.9)
    (folder / "figures" / "samples.json").write_text(json.dumps({"night": {"0001": 1}}))
    assert set(read_run(folder).samples) == {("night", "0001")}
