import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from minorkey.data.sample import Sample
from minorkey.errors import ConfigError, DataError, ImageSizeError
from minorkey.evaluation.run import EvaluationDomain, evaluate_domains, image_sets, share_scenes
from minorkey.labels import label_space
from minorkey.tasks.base import Task
from minorkey.tasks.detection.task import Candidates, Detection
from minorkey.tasks.predictor import Predictor
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.segmentation.confusion import confusion_matrix
from minorkey.tasks.segmentation.task import Segmentation

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


class RedIsTheClass(Segmentation):
    """Predicts the red channel modulo the number of classes."""

    def start(self, model, pixel_values, *_, **__) -> list[torch.Tensor]:
        return [(image[0] * 255).round().to(torch.uint8) % 7 for image in pixel_values]


class BoxReader(Reader):
    def __getitem__(self, index: int) -> Sample:
        image = np.full((20, 30, 3), index, dtype=np.uint8)
        boxes = np.array([[0, 0, 10, 10], [5, 5, 20, 15]], dtype=np.float32)[: index % 3]
        crowd = np.array([False, True])[: index % 3]
        classes = np.array([1, 0])[: index % 3]
        given = (boxes, classes, crowd) if self.labelled else (None, None, None)
        return Sample(image, self.domain, self.key(index), None, None, *given)


class OneBox(Detection):
    """Finds one box in the images of odd numbers."""

    def start(self, model, pixel_values, *_, **__) -> list[Candidates]:
        box, score, name = torch.tensor([[0.0, 0.0, 10.0, 9.0]]), torch.tensor([0.5]), torch.tensor([1])
        return [Candidates(box, score, name, (image[0, 0, :1] * 255).round() % 2 == 1) for image in pixel_values]


def predictor_of(task: Task, **protocol: Any) -> Predictor:
    """Images as they are, in [0, 1], given to a task that looks at no network."""
    return Predictor(
        nn.Linear(1, 1), SPACE, Protocol(label_space="street7", **protocol), (0, 0, 0), (1, 1, 1), task=task
    )


BOXES = predictor_of(OneBox(), metric="coco", detections=50)


def _judge(domains, tmp_path, console, pictures=0):
    return evaluate_domains(predictor_of(RedIsTheClass()), domains, pictures, tmp_path, console)


def test_one_confusion_matrix_per_image_in_order(tmp_path, console):
    day, night = Reader("day"), Reader("night", count=3)
    found = _judge([EvaluationDomain("source", day, 99), EvaluationDomain("unseen", night, 99)], tmp_path, console)
    assert {name: (each.role, each.evidence.shape) for name, each in found.items()} == {
        "day": ("source", (7, 7)),
        "night": ("unseen", (3, 7)),
    }
    for index, matrix in enumerate(found["day"].evidence.matrices):
        sample = day[index]
        assert np.array_equal(matrix, confusion_matrix(sample.image[..., 0] % 7, sample.labels, 7))
        assert matrix.sum() == 5 * 9


def test_an_image_that_does_not_fit_the_network_stops_judging_and_is_named(tmp_path, console, monkeypatch):
    def refuse(self, images):
        raise ImageSizeError("an image of 9x5 is too small")

    monkeypatch.setattr(Predictor, "start", refuse)
    with pytest.raises(DataError, match=r"^day/000: an image of 9x5 is too small$"):
        _judge([EvaluationDomain("unseen", Reader("day"), 99)], tmp_path, console)


@pytest.mark.parametrize(("count", "expected"), [(99, [0, 1, 2, 3, 4, 5, 6]), (1, [3]), (3, [1, 3, 5])])
def test_judged_images_are_evenly_spaced(count, expected):
    assert EvaluationDomain("unseen", Reader("day"), count).indices() == expected


def test_pictures_are_kept_of_the_first_to_the_last_part(tmp_path, console):
    _judge([EvaluationDomain("unseen", Reader("day"), 99)], tmp_path, console, pictures=2)
    assert sorted(path.name for path in (tmp_path / "day").iterdir()) == ["001", "005"]
    sample = Reader("day")[1]
    expected = {"image": sample.image, "truth": sample.labels, "prediction": sample.image[..., 0] % 7}
    for name, pixels in expected.items():
        with Image.open(tmp_path / "day" / "001" / f"{name}.png") as image:
            assert np.array_equal(np.asarray(image), pixels)


def test_images_without_labels_cannot_be_judged_on(tmp_path, console):
    with pytest.raises(DataError, match="day/000 has no labels; only labelled images"):
        _judge([EvaluationDomain("unseen", Reader("day", labelled=False), 9)], tmp_path, console)


def test_objects_and_detections_of_every_image_are_kept(tmp_path, console):
    day, night = BoxReader("day"), BoxReader("night", count=2)
    found = evaluate_domains(
        BOXES,
        [EvaluationDomain("source", day, 99), EvaluationDomain("unseen", night, 99)],
        2,
        tmp_path,
        console,
    )
    role, evidence, _ = found["day"]
    assert (role, evidence.shape, evidence.metric, evidence.most) == ("source", (7, 7), "coco", 50)
    assert evidence.truth.images.tolist() == [1, 2, 2, 4, 5, 5]
    assert evidence.truth.classes.tolist() == [1, 1, 0, 1, 1, 0]
    assert evidence.truth.crowd.tolist() == [False, False, True, False, False, True]
    assert evidence.found.images.tolist() == [1, 3, 5]
    assert evidence.found.boxes.tolist() == [[0, 0, 10, 9]] * 3
    # objects in 1, 2, 4, 5, found in 1 and 5 with an IoU of 0.9; a false alarm in 3 comes second: precision 1, 2/3
    assert evidence.class_details()["AP50"][1] == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)
    assert found["night"][1].shape == (2, 7)


def test_boxes_are_kept_beside_the_image(tmp_path, console):
    evaluate_domains(
        BOXES,
        [EvaluationDomain("unseen", BoxReader("day"), 99)],
        2,
        tmp_path,
        console,
    )
    assert sorted(path.name for path in (tmp_path / "day" / "005").iterdir()) == ["boxes.json", "image.png"]
    names = SPACE.classes
    assert json.loads((tmp_path / "day" / "005" / "boxes.json").read_text()) == {
        "truth": [
            {"box": [0, 0, 10, 10], "class": names[1], "crowd": False},
            {"box": [5, 5, 20, 15], "class": names[0], "crowd": True},
        ],
        "prediction": [{"box": [0, 0, 10, 9], "class": names[1], "score": 0.5}],
    }


def test_images_without_boxes_cannot_be_judged_on(tmp_path, console):
    with pytest.raises(DataError, match="day/000 has no boxes; only labelled images"):
        evaluate_domains(
            BOXES,
            [EvaluationDomain("unseen", BoxReader("day", labelled=False), 9)],
            0,
            tmp_path,
            console,
        )


def test_two_domains_of_one_name_are_refused(tmp_path, console):
    with pytest.raises(ConfigError, match=r"'day' would be judged twice \(day:val, day:val\); give each"):
        _judge([EvaluationDomain("unseen", Reader("day"), 9)] * 2, tmp_path, console)


def test_scenes_are_shared_where_all_unseen_keys_agree():
    day, night, dusk = (EvaluationDomain("unseen", Reader(name), 9) for name in ("day", "night", "dusk"))
    assert share_scenes([day, night, dusk])
    assert not share_scenes([day])
    assert not share_scenes([day, EvaluationDomain("unseen", Reader("fog", count=6), 9)])
    assert share_scenes([EvaluationDomain("source", Reader("clear", count=2), 9), day, night])


def test_what_the_labels_show_has_a_fingerprint(tmp_path, console):
    """Data sets may share the names of their images, and a new version of one has other labels."""

    class Relabelled(Reader):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            return replace(sample, labels=np.where(sample.labels == 6, 5, sample.labels))

    def judged(reader):
        return _judge([EvaluationDomain("unseen", reader, 9)], tmp_path, console)["day"].label_set

    assert judged(Reader("day")) == judged(Reader("day"))
    assert judged(Reader("day")) != judged(Relabelled("day"))


def test_the_images_of_a_domain_have_a_fingerprint():
    day, other, night = (Reader("day"), Reader("day", count=8), Reader("night"))
    first, second, third = (image_sets([EvaluationDomain("unseen", each, 3)]) for each in (day, other, night))
    assert first == {"day": third["night"]}
    assert first["day"] != second["day"], "as many, evenly spaced, are others of more images"
