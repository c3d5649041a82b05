from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from published import PUBLISHED, write_loose

from minorkey.cli import main
from minorkey.errors import ConfigError
from minorkey.evaluation.submission import FORMATS, write_predictions
from minorkey.runs import api

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Of the 19 classes: the table of cityscapesScripts (helpers/labels.py)."""


@pytest.fixture
def test_images(tmp_path):
    """Cityscapes and ACDC as published, with images of test splits, which have no labels of use."""
    for name in ("cityscapes", "acdc"):
        write_loose(PUBLISHED[name][0].files, tmp_path / name)
    rng = np.random.default_rng(0)
    for file in (
        "cityscapes/leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png",
        "acdc/rgb_anon/night/test/GOPR0355/GOPR0355_frame_000138_rgb_anon.png",
    ):
        (tmp_path / file).parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (32, 64, 3), dtype=np.uint8)).save(tmp_path / file)
    return tmp_path


def test_cityscapes_gets_label_ids(finished_run, test_images, tmp_path, console):
    given = {"unseen": "cityscapes:test", "data_root": str(test_images)}
    written, folder = api.write_submission(
        finished_run.path, "cityscapes", out=tmp_path / "out", console=console, **given
    )
    assert (written, [file.name for file in folder.iterdir()]) == (1, ["berlin_000000_000019_leftImg8bit.png"])
    file = folder / "berlin_000000_000019_leftImg8bit.png"
    source = test_images / "cityscapes/leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png"
    expected = np.array(LABEL_IDS)[api.load(finished_run.path).predict(source).labels]
    np.testing.assert_array_equal(np.asarray(Image.open(file)), expected)
    again, _ = api.write_submission(finished_run.path, "cityscapes", out=tmp_path / "out", console=console, **given)
    assert again == 0  # what the same model wrote is kept
    for foreign in ({"evaluation": {"flip": True}}, {}):
        if not foreign:
            Image.fromarray(np.zeros((32, 64), np.uint8)).save(file)
        with pytest.raises(ConfigError, match="is there already, and this model did not write it"):
            api.write_submission(
                finished_run.path, "cityscapes", out=tmp_path / "out", console=console, **given, **foreign
            )


def test_acdc_gets_train_ids(finished_run, test_images, monkeypatch, capsys, tmp_path):
    command = ["evaluate", str(finished_run.path), "--unseen", "acdc-night:test", "--submission", "acdc"]
    monkeypatch.setattr("sys.argv", ["minorkey", *command, "--out", str(tmp_path / "out"), f"data_root={test_images}"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "1 predictions written" in capsys.readouterr().out
    (file,) = (tmp_path / "out").iterdir()
    assert file.name == "GOPR0355_frame_000138_rgb_anon.png"
    source = test_images / "acdc/rgb_anon/night/test/GOPR0355" / file.name
    np.testing.assert_array_equal(np.asarray(Image.open(file)), api.load(finished_run.path).predict(source).labels)


def test_an_unknown_server_is_refused(finished_run):
    with pytest.raises(ConfigError, match="unknown test server 'cityscape'; did you mean 'cityscapes'"):
        api.write_submission(finished_run.path, "cityscape")


def test_other_classes_under_the_name_of_the_servers_are_refused(finished_run, console, tmp_path):
    """A label space of one's own is named after its file."""
    predictor = api.load(finished_run.path)
    space = replace(predictor.space, classes=("road", *predictor.space.classes[:0:-1]))
    with pytest.raises(ConfigError, match="has the classes of label space 'cityscapes19'"):
        write_predictions(replace(predictor, space=space), [], FORMATS["acdc"], tmp_path, console, "model")
