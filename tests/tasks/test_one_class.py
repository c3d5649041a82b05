"""One class, and the rest ignored: a softmax over it is always sure, so there is nothing to learn."""

import numpy as np
import pytest
from PIL import Image

from minorkey import train
from minorkey.data.readers import open_datasets
from minorkey.datacheck.run import check
from minorkey.errors import ConfigError
from minorkey.labels import label_space
from minorkey.tasks.table import TASKS, task_named

ONE = "classes:\n  road: {colour: [128, 64, 128]}\n"
TWO = f"{ONE}  sky: {{colour: [70, 130, 180]}}\n"
REFUSED = r"label space 'space' has one class, 'road', which \w+ would always find; name .* e\.g\. background"


@pytest.fixture
def data(tmp_path):
    """Road and something that is ignored."""
    for kind, value in (("images", 90), ("labels", 1)):
        for split in ("train", "val"):
            folder = tmp_path / kind / split
            folder.mkdir(parents=True)
            picture = np.full((32, 48), value, np.uint8)
            picture[:9] = 0
            Image.fromarray(picture).save(folder / "0.png")
    (tmp_path / "dataset.yaml").write_text("ids: {0: ignore, 1: road}\n")
    return tmp_path


def _space(folder, text):
    file = folder / "space.yaml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("name", TASKS.shipped)
def test_what_gives_every_place_a_class_needs_two(name, tmp_path):
    task, one = task_named(name), _space(tmp_path, ONE)
    if name == "detection":
        assert task.space(one).classes == ("road",)
        return
    with pytest.raises(ConfigError, match=REFUSED):
        task.space(one)


def test_it_is_refused_before_training_and_by_the_data_check(data):
    one = _space(data, ONE)
    with pytest.raises(ConfigError, match=REFUSED):
        train(source=str(data), label_space=one, out=data / "run")
    with pytest.raises(ConfigError, match=REFUSED):
        check(str(data), {"label_space": one})


def test_labels_that_name_one_class_of_two_are_told_of(data):
    (reader,) = open_datasets(str(data), role="source", label_space=label_space(_space(data, TWO)))
    (note,) = reader.notes
    assert note.endswith("name one class only, 'road' of label space 'space': nothing is told apart there")
    (data / "dataset.yaml").write_text("ids: {0: sky, 1: road}\n")
    (reader,) = open_datasets(str(data), role="source", label_space=label_space(_space(data, TWO)))
    assert reader.notes == ()
