import numpy as np
import pytest

from minorkey import world
from minorkey.data.readers import WorldOptions, open_datasets
from minorkey.errors import ConfigError
from minorkey.labels import label_space

OPTIONS = WorldOptions(seed=3, train_count=4, eval_count=2, size=(64, 32))


def open_world(spec: str, role: str, space: str = "street7"):
    return open_datasets(spec, role=role, label_space=label_space(space), options=OPTIONS)[0]


def test_domain_and_counts():
    source, unseen = open_world("world", "source"), open_world("world:night", "unseen")
    assert (source.name, source.domain, len(source)) == ("world:clear", "clear", 4)
    assert (unseen.name, unseen.domain, len(unseen)) == ("world:night", "night", 2)
    sample = unseen[1]
    assert (sample.domain, sample.key) == ("night", unseen.key(1))
    assert sample.image.shape == (32, 64, 3)


def test_scenes_are_those_of_the_world_with_even_and_odd_seeds():
    for role, seed in (("source", 6), ("unseen", 7)):
        expected = world.render(seed, 1, domain="clear", size=(64, 32))
        sample = open_world("world", role, "cityscapes19")[1]
        assert np.array_equal(sample.image, expected.image)
        assert np.array_equal(sample.labels, expected.labels)


def test_judged_domains_show_the_same_scenes():
    night, fog = open_world("world:night", "unseen"), open_world("world:fog", "unseen")
    assert [night.key(i) for i in range(2)] == [fog.key(i) for i in range(2)]
    assert np.array_equal(night[0].labels, fog[0].labels)
    assert not np.array_equal(night[0].image, fog[0].image)
    trained = open_world("world:night", "source")
    assert {night.key(i) for i in range(2)}.isdisjoint(trained.key(i) for i in range(4))


def test_labels_follow_the_label_space():
    fine, coarse = (open_world("world", "source", space)[0].labels for space in ("cityscapes19", "street7"))
    assert np.array_equal(fine == 0, coarse == 0)  # road
    assert np.array_equal((fine == 8) | (fine == 9), coarse == 3)  # vegetation and terrain
    assert np.array_equal((fine >= 13) & (fine <= 16), coarse == 5)  # car, truck, bus, train


def test_unknown_domain():
    with pytest.raises(ConfigError, match="unknown world domain 'nigth'; did you mean 'night'"):
        open_world("world:nigth", "unseen")


def test_end_of_the_world():
    with pytest.raises(IndexError, match="scene 4 of 4"):
        open_world("world", "source")[4]


def test_boxes_follow_the_label_space():
    def boxes(role: str, space: str):
        options = WorldOptions(seed=3, train_count=2, size=(160, 80))
        named = {"label_space": label_space(space), "options": options, "annotation": "boxes"}
        return open_datasets("world", role=role, **named)[0][1]

    expected = world.render(6, 1, domain="clear", size=(160, 80))
    sample = boxes("source", "weather7")
    assert sample.labels is None
    assert np.array_equal(sample.boxes, expected.boxes)
    assert np.array_equal(sample.box_classes, expected.box_classes)
    assert label_space("weather7").classes == world.DETECTION_CLASSES
    cars = boxes("source", "carla5")
    vehicle = np.isin(expected.box_classes, [0, 2, 6])  # bus, car, truck
    assert len(cars.boxes) == len(cars.crowd) < len(expected.boxes)  # no persons
    assert np.array_equal(cars.boxes[cars.box_classes == 0], expected.boxes[vehicle])
    assert boxes("target", "weather7").boxes is None


def test_boxes_lower_than_a_16th_of_the_image_are_crowds():
    """An exact 16th is none: 5 of 80 pixels."""
    options = WorldOptions(seed=3, train_count=20, size=(160, 80))
    named = {"label_space": label_space("weather7"), "options": options, "annotation": "boxes"}
    (reader,) = open_datasets("world", role="source", **named)
    samples = [reader[index] for index in range(8, 20)]
    heights = np.concatenate([sample.boxes[:, 3] - sample.boxes[:, 1] for sample in samples])
    crowds = np.concatenate([sample.crowd for sample in samples])
    assert crowds.dtype == bool
    assert {4, 5} <= {*heights.tolist()}
    assert np.array_equal(crowds, heights < 5)
