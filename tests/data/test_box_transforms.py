"""Boxes and pixels stay in step: rectangles are painted in colours of their own and found again in the crop."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from minorkey.data.sample import Sample
from minorkey.data.transforms import TransformConfig, Window
from minorkey.tasks.detection.crops import box_transform, boxes_in, mirror
from minorkey.tasks.segmentation.crops import train_transform

HEIGHT, WIDTH, CELL = 90, 150, 30
CONFIG = TransformConfig(crop=(64, 96), scale_jitter=(0.4, 2.5))


def painted_sample(seed: int = 0) -> Sample:
    """A rectangle in each of 15 cells of a grey image; its class is its number, and red tells it from others."""
    rng = np.random.default_rng(seed)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    boxes = []
    for number in range(15):
        left, top = CELL * (number % 5), CELL * (number // 5)
        x0, y0 = rng.integers(1, 10, 2)
        x1, y1 = rng.integers(18, 29, 2)
        boxes.append([left + x0, top + y0, left + x1, top + y1])
        image[top + y0 : top + y1, left + x0 : left + x1] = (255, 16 * number, 0)
    return Sample(
        image, "d", "k", boxes=np.array(boxes, np.float32), box_classes=np.arange(15), crowd=np.arange(15) > 9
    )


def crop(seed: int, config: TransformConfig = CONFIG, sample: Sample | None = None) -> Sample:
    return box_transform(sample or painted_sample(), config, np.random.default_rng(seed))


def found(image: np.ndarray, number: int) -> np.ndarray:
    """x0 y0 x1 y1 of the pixels that are of the colour of a rectangle for the most part."""
    inside = (image[..., 0] > 127) & (abs(image[..., 1] / np.maximum(image[..., 0], 1) * 255 - 16 * number) < 8)
    rows, columns = inside.nonzero()
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("seed", range(40))
def test_boxes_bound_their_pixels(seed):
    out = crop(seed)
    assert out.boxes.dtype == np.float32
    assert len(out.boxes) == len(out.box_classes) == len(out.crowd) > 0
    for box, number, is_crowd in zip(out.boxes, out.box_classes, out.crowd, strict=True):
        if (box[2:] - box[:2]).min() > 3:  # of smaller ones no pixel may be of the colour alone
            np.testing.assert_allclose(box, found(out.image, number), atol=1)
        assert is_crowd == (number > 9)


@pytest.mark.parametrize("seed", range(40))
def test_no_box_leaves_the_crop_and_none_is_made_up(seed):
    out = crop(seed)
    height, width = out.image.shape[:2]
    assert height <= 64
    assert width <= 96
    assert (out.boxes[:, :2] >= 0).all()
    assert (out.boxes[:, 2:] <= [width, height]).all()
    assert (out.boxes[:, 2:] - out.boxes[:, :2] >= 1).all()
    assert len(set(out.box_classes)) == len(out.box_classes)


def test_every_scale_is_drawn_evenly_and_small_images_are_shown_whole():
    heights = [
        crop(seed, TransformConfig(crop=(90, 150), scale_jitter=(0.2, 1.0))).image.shape[0] for seed in range(99)
    ]
    assert 18 <= min(heights) < 24
    assert 84 < max(heights) <= 90
    assert np.mean(heights) == pytest.approx(54, abs=6)
    whole = crop(0, TransformConfig(crop=(45, 200), scale_jitter=(1.0, 1.0), flip=0))
    assert whole.image.shape == (45, 75, 3)
    np.testing.assert_allclose(whole.boxes, painted_sample().boxes / 2)


def test_without_jitter_the_scales_are_those_of_segmentation():
    config = TransformConfig(crop=(45, 45), scale_ratios=(1.0, 1.5), max_long_side=100, flip=0)
    for seed in range(10):
        ours, theirs = crop(seed, config), train_transform(painted_sample(), config, np.random.default_rng(seed))
        assert ours.image.shape == theirs.image.shape
    assert crop(0, config).boxes.max() > 0


def test_a_crop_of_the_unscaled_image_moves_its_boxes_only():
    sample = painted_sample()
    out = crop(1, TransformConfig(crop=(HEIGHT, 75), scale_ratios=(HEIGHT / 75,), flip=0))
    left = next(x for x in range(76) if np.array_equal(sample.image[:, x : x + 75], out.image))
    inside = (sample.boxes[:, 0] >= left) & (sample.boxes[:, 2] <= left + 75)
    assert 3 <= inside.sum() < 15
    kept = np.isin(out.box_classes, sample.box_classes[inside])
    np.testing.assert_array_equal(out.boxes[kept], sample.boxes[inside] - [left, 0, left, 0])


def test_mirror_is_an_involution():
    sample = painted_sample()
    once = mirror(sample)
    np.testing.assert_array_equal(found(once.image, 4), once.boxes[4])
    twice = mirror(once)
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_array_equal(twice.boxes, sample.boxes)


def test_flip_follows_its_probability():
    plain, flipped = (crop(3, replace_flip(flip)) for flip in (0.0, 1.0))
    np.testing.assert_array_equal(flipped.image, plain.image[:, ::-1])
    np.testing.assert_allclose(mirror(flipped).boxes, plain.boxes, atol=1e-5)


def replace_flip(flip: float) -> TransformConfig:
    return CONFIG.model_copy(update={"flip": flip})


def test_the_seed_decides():
    one, same, other = crop(5), crop(5), crop(6)
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.boxes, same.boxes)
    assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ([0, 0, 10, 10], True),
        ([-10, 0, 2, 10], True),  # a sixth of it is shown
        ([-19, 0, 1, 10], False),  # a twentieth
        ([-10, 0, 0, 10], False),
        ([5, 5, 5.3, 9], False),  # 0.6 pixels wide
        ([5, 5, 5.6, 9], True),
    ],
)
def test_what_is_shown_of_a_box_decides_whether_it_is_kept(box, kept):
    boxes, shown = boxes_in(np.array([box], np.float32), Window((40, 40), (0, 0, 20, 20)))
    assert shown.tolist() == [kept]
    np.testing.assert_allclose(boxes[0], np.clip(2 * np.array(box), 0, 40), rtol=1e-6)


def lonely_sample() -> Sample:
    """One object and one crowd, far apart in an image that a crop shows a sixth of."""
    sample = Sample(np.zeros((40, 240, 3), np.uint8), "d", "k", box_classes=np.array([3, 3]))
    return replace(sample, boxes=np.array([[0, 0, 8, 8], [200, 0, 240, 40]], np.float32), crowd=np.array([False, True]))


def test_a_crop_that_lost_every_object_is_drawn_again():
    config = TransformConfig(crop=(40, 40), scale_ratios=(1.0,), flip=0)
    with_object = [not crop(seed, config, lonely_sample()).crowd.all() for seed in range(60)]
    once = 7 / 201  # the left edge is 0 ... 7 of 0 ... 200 in the crops that show a tenth of it
    assert np.mean(with_object) > 3 * once
    assert not all(with_object)  # it gives up in the end: a crop of background is one to learn from


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_any_number_of_boxes(count):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 80, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(2, 10, (count, 2))], axis=1).astype(np.float32)
    sample = replace(painted_sample(), boxes=boxes, box_classes=np.arange(count), crowd=np.zeros(count, bool))
    out = crop(0, sample=sample)
    assert out.boxes.shape == (len(out.box_classes), 4)
    assert (out.boxes.dtype, out.box_classes.dtype, out.crowd.dtype) == (np.float32, np.int64, bool)
    assert len(out.boxes) <= count
    assert (len(out.boxes) > 100) is (count == 1000)


def test_an_unlabelled_image_is_cropped_all_the_same():
    plain = Sample(painted_sample().image, "d", "k")
    out = crop(2, sample=plain)
    assert (out.boxes, out.box_classes, out.crowd) == (None, None, None)
    assert out.image.shape[2] == 3


def test_labels_of_other_kinds_are_dropped():
    sample = replace(painted_sample(), labels=np.zeros((HEIGHT, WIDTH), np.uint8), depth=np.ones((HEIGHT, WIDTH)))
    out = crop(0, sample=sample)
    assert (out.labels, out.depth) == (None, None)


def test_jitter_is_a_range():
    with pytest.raises(ValidationError, match="low <= high"):
        TransformConfig(scale_jitter=(2.0, 0.1))
    with pytest.raises(ValidationError, match="greater than 0"):
        TransformConfig(scale_jitter=(0.0, 1.0))
