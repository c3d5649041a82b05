from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from minorkey.data.sample import Sample
from minorkey.errors import StorageError
from minorkey.training.snapshots import Snapshots


class Net(nn.Module):
    """Two classes by brightness; a module of its own stays in evaluation mode, as a frozen backbone's statistics do."""

    def __init__(self, bias):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(1), nn.Dropout(0.5)
        self.bias = bias
        self.norm.eval()

    def forward(self, grey):
        logit = self.drop(self.norm(grey[None, None]))[0, 0] + self.bias
        return torch.stack([torch.zeros_like(logit), logit]).softmax(0)


class Teacher:
    def __init__(self, network):
        self.network = network

    @contextmanager
    def installed(self):
        yield self.network


def predict(network, image):
    return network(torch.from_numpy(image[..., 0]).float() / 32 - 4)


@pytest.fixture
def samples():
    noise = np.random.default_rng(0)
    return [
        Sample(image=noise.integers(0, 256, (6, 8, 3), dtype=np.uint8), domain="night", key=key) for key in ("a", "b/c")
    ]


def read(path):
    with Image.open(path) as picture:
        return picture.mode, np.asarray(picture)


def test_pictures_hold_what_teacher_and_student_say(tmp_path, samples):
    student, teacher = Net(bias=2.0), Net(bias=0.0)
    Snapshots(tmp_path, samples, predict, threshold=0.9).take(100, student, Teacher(teacher))
    for sample in samples:
        place = tmp_path / "step-0000100" / "night" / sample.key
        logit = (sample.image[..., 0] / 32.0 - 4) / np.sqrt(1 + 1e-5)
        confident = 1 / (1 + np.exp(-abs(logit))) >= 0.9
        assert np.array_equal(read(place / "image.png")[1], sample.image)
        assert np.array_equal(read(place / "teacher.png")[1], logit > 0)
        assert np.array_equal(read(place / "student.png")[1], logit + 2 > 0)
        assert np.array_equal(read(place / "kept.png")[1], 255 * confident)
        assert 0 < confident.mean() < 1
        assert read(place / "teacher.png")[0] == read(place / "kept.png")[0] == "L"


def test_no_random_number_is_drawn_and_every_module_keeps_its_mode(tmp_path, samples):
    student = Net(bias=0.0)
    state = torch.get_rng_state()
    Snapshots(tmp_path, samples, predict, threshold=0.5).take(1, student, Teacher(student))
    assert torch.equal(torch.get_rng_state(), state)
    assert (student.training, student.drop.training, student.norm.training) == (True, True, False)


def test_the_modes_come_back_after_an_error(tmp_path, samples):
    student = Net(bias=0.0)

    def fail(network, image):
        if network is student:
            raise ValueError("out of memory")
        return predict(network, image)

    with pytest.raises(ValueError, match="out of memory"):
        Snapshots(tmp_path, samples, fail, threshold=0.5).take(1, student, Teacher(Net(bias=0.0)))
    assert student.drop.training


def test_the_same_step_twice_leaves_equal_files(tmp_path, samples):
    snapshots = Snapshots(tmp_path, samples, predict, threshold=0.9)
    first, second = [], []
    for found in (first, second):
        snapshots.take(20, Net(bias=1.0), Teacher(Net(bias=0.0)))
        found += [(path, path.read_bytes()) for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    assert first == second
    assert len(first) == 8


def test_a_folder_that_cannot_be_written_is_said(tmp_path, samples):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        Snapshots(tmp_path / "file", samples, predict, 0.5).take(1, Net(bias=0.0), Teacher(Net(bias=0.0)))
