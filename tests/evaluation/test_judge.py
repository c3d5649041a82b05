from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from minorkey.data.sample import Sample
from minorkey.errors import ConfigError, DataError
from minorkey.evaluation.confusion import confusion_matrix
from minorkey.evaluation.run import Judged, judge, share_scenes
from minorkey.labels import label_space
from minorkey.tasks.prediction import SegmentationPrediction

SPACE = label_space("street7")


@dataclass
class Reader:
    domain: str
    count: int = 7
    labelled: bool = True

    @property
    def name(self) -> str:
        return f"{self.domain}:val"

    def __len__(self) -> int:
        return self.count

    def key(self, index: int) -> str:
        return f"{index:03d}"

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([index, *self.domain.encode()])
        labels = rng.integers(0, 7, (6, 9), dtype=np.uint8)
        labels[0] = 255
        image = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
        return Sample(image, self.domain, self.key(index), labels if self.labelled else None)


class RedIsTheClass:
    """Predicts the red channel modulo the number of classes."""

    space = SPACE

    def in_domain(self, domain: str) -> "RedIsTheClass":
        return self

    def predict_one(self, image: np.ndarray) -> SegmentationPrediction:
        return SegmentationPrediction(image[..., 0] % 7, image, SPACE)


def _judge(domains, tmp_path, console, pictures=0):
    return judge(RedIsTheClass(), domains, pictures, tmp_path, console)


def test_one_confusion_matrix_per_image_in_order(tmp_path, console):
    day, night = Reader("day"), Reader("night", count=3)
    found = _judge([Judged("source", day, 99), Judged("unseen", night, 99)], tmp_path, console)
    assert {name: (role, m.shape) for name, (role, m) in found.items()} == {
        "day": ("source", (7, 7, 7)),
        "night": ("unseen", (3, 7, 7)),
    }
    for index, matrix in enumerate(found["day"][1]):
        sample = day[index]
        assert np.array_equal(matrix, confusion_matrix(sample.image[..., 0] % 7, sample.labels, 7))
        assert matrix.sum() == 5 * 9


@pytest.mark.parametrize(("count", "expected"), [(99, [0, 1, 2, 3, 4, 5, 6]), (1, [3]), (3, [1, 3, 5])])
def test_judged_images_are_evenly_spaced(count, expected):
    assert Judged("unseen", Reader("day"), count).indices() == expected


def test_pictures_are_kept_of_the_first_to_the_last_part(tmp_path, console):
    _judge([Judged("unseen", Reader("day"), 99)], tmp_path, console, pictures=2)
    assert sorted(path.name for path in (tmp_path / "day").iterdir()) == ["001", "005"]
    sample = Reader("day")[1]
    expected = {"image": sample.image, "truth": sample.labels, "prediction": sample.image[..., 0] % 7}
    for name, pixels in expected.items():
        with Image.open(tmp_path / "day" / "001" / f"{name}.png") as image:
            assert np.array_equal(np.asarray(image), pixels)


def test_images_without_labels_cannot_be_judged_on(tmp_path, console):
    with pytest.raises(DataError, match="day/000 has no labels; only labelled images"):
        _judge([Judged("unseen", Reader("day", labelled=False), 9)], tmp_path, console)


def test_two_domains_of_one_name_are_refused(tmp_path, console):
    with pytest.raises(ConfigError, match=r"'day' would be judged twice \(day:val, day:val\); give each"):
        _judge([Judged("unseen", Reader("day"), 9)] * 2, tmp_path, console)


def test_scenes_are_shared_where_all_unseen_keys_agree():
    day, night, dusk = (Judged("unseen", Reader(name), 9) for name in ("day", "night", "dusk"))
    assert share_scenes([day, night, dusk])
    assert not share_scenes([day])
    assert not share_scenes([day, Judged("unseen", Reader("fog", count=6), 9)])
    assert share_scenes([Judged("source", Reader("clear", count=2), 9), day, night])
