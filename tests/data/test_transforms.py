import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from minorkey.data.sample import Sample
from minorkey.data.transforms import TransformConfig, Window, resize_window, scaled_size, to_tensor
from minorkey.tasks.segmentation.crops import largest_class_share, train_transform

HEIGHT, WIDTH, BLOCK = 96, 128, 16


def coordinate_sample() -> Sample:
    """Red is twice x, green twice y; the label is the block of 16x16 pixels."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([2 * x, 2 * y, 0 * x], axis=-1).clip(0, 255).astype(np.uint8)
    labels = (y // BLOCK * (WIDTH // BLOCK) + x // BLOCK).astype(np.uint8)
    return Sample(image=image, domain="d", key="k", labels=labels, depth=np.ones((HEIGHT, WIDTH), np.float32))


@pytest.mark.parametrize("seed", range(20))
def test_labels_stay_aligned_with_the_image(seed):
    config = TransformConfig(crop=(48, 64), scale_ratios=(1.0, 1.3, 2.0))
    out = train_transform(coordinate_sample(), config, np.random.default_rng(seed))
    assert out.image.shape == (48, 64, 3)
    assert out.labels.shape == (48, 64)
    assert out.depth is None
    x, y = out.image[..., 0] / 2, out.image[..., 1] / 2
    inside = (abs((x + 0.5) % BLOCK - BLOCK / 2) < 6) & (abs((y + 0.5) % BLOCK - BLOCK / 2) < 6)
    assert inside.mean() > 0.2
    expected = y.round().astype(int) // BLOCK * (WIDTH // BLOCK) + x.round().astype(int) // BLOCK
    assert np.array_equal(out.labels[inside], expected[inside])


def test_crop_equals_the_crop_of_the_resized_image():
    """At a scale of 1/2 and a crop as wide as the result, only the vertical place is random."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    labels = rng.integers(0, 19, (HEIGHT, WIDTH), dtype=np.uint8)
    config = TransformConfig(crop=(32, 64), scale_ratios=(1.5,), flip=0)
    out = train_transform(Sample(image=image, domain="d", key="k", labels=labels), config, rng)
    resized = np.asarray(Image.fromarray(image).resize((64, 48), Image.Resampling.BILINEAR)).astype(int)
    nearest = np.asarray(Image.fromarray(labels).resize((64, 48), Image.Resampling.NEAREST))
    tops = [top for top in range(17) if abs(resized[top : top + 32] - out.image).max() <= 1]
    assert len(tops) == 1
    assert np.array_equal(nearest[tops[0] : tops[0] + 32], out.labels)


def test_flip_mirrors_image_and_labels():
    plain, flipped = (
        train_transform(
            coordinate_sample(),
            TransformConfig(crop=(HEIGHT, WIDTH), scale_ratios=(1.0,), flip=flip),
            np.random.default_rng(0),
        )
        for flip in (0, 1)
    )
    assert np.array_equal(plain.image, coordinate_sample().image)
    assert np.array_equal(flipped.image, plain.image[:, ::-1])
    assert np.array_equal(flipped.labels, plain.labels[:, ::-1])


def test_small_image_is_shown_whole():
    config = TransformConfig(crop=(96, 96), scale_ratios=(0.5,), flip=0)
    out = train_transform(coordinate_sample(), config, np.random.default_rng(0))
    assert out.image.shape == (48, 64, 3)
    assert out.labels.shape == (48, 64)
    assert set(np.unique(out.labels)) == set(range(48))


@pytest.mark.parametrize("seed", range(10))
def test_a_window_equals_its_place_in_the_resized_image(seed):
    """Whole pixels of the scaled image, at any scale: the filter must see what lies beyond the window."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    height, width = int(rng.integers(24, 2 * HEIGHT)), int(rng.integers(24, 2 * WIDTH))
    left, top, right, bottom = width // 4, height // 3, width // 4 + width // 2, height // 3 + height // 2
    box = (left * WIDTH / width, top * HEIGHT / height, right * WIDTH / width, bottom * HEIGHT / height)
    part = resize_window(image, Window((right - left, bottom - top), box))
    whole = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    assert abs(whole[top:bottom, left:right].astype(int) - part).max() <= 1
    assert (whole[top:bottom, left:right] == part).mean() > 0.98  # Pillow places windows in float32


@pytest.mark.parametrize(
    ("size", "short", "limit", "expected"),
    [
        ((1052, 1914), 512.0, 2048, (512, 932)),  # GTA5: the limit is far away
        ((1024, 2048), 1024.0, 2048, (1024, 2048)),  # it is just kept to
        ((1000, 4000), 1024.0, 2048, (512, 2048)),  # it lowers the scale of both sides
        ((4000, 1000), 1024.0, 2048, (2048, 512)),
        ((1000, 4000), 1024.0, None, (1024, 4096)),
    ],
)
def test_long_side_is_limited(size, short, limit, expected):
    """Both limits hold and the ratio is kept, as for the size (2048, short) with kept ratio in mmsegmentation."""
    assert scaled_size(size, short, limit) == expected


def test_limit_of_the_long_side_reaches_the_window():
    sample = Sample(image=np.zeros((20, 400, 3), np.uint8), domain="d", key="k")
    config = TransformConfig(crop=(40, 40), scale_ratios=(1.0,), max_long_side=200)
    assert train_transform(sample, config, np.random.default_rng(0)).image.shape == (10, 40, 3)
    with pytest.raises(ValidationError, match="greater than 0"):
        TransformConfig(max_long_side=0)


def striped_sample() -> Sample:
    """The left half of the image is one class, the right half has stripes of three."""
    labels = np.zeros((40, 240), np.uint8)
    labels[:, 120:] = np.arange(120) // 5 % 3
    return Sample(image=np.zeros((40, 240, 3), np.uint8), domain="d", key="k", labels=labels)


@pytest.mark.parametrize(("limit", "kept"), [(0.75, True), (1.0, False)])
def test_no_class_covers_more_than_its_share(limit, kept):
    config = TransformConfig(crop=(40, 40), scale_ratios=(1.0,), max_class_share=limit)
    shares = [
        largest_class_share(train_transform(striped_sample(), config, np.random.default_rng(seed)).labels)
        for seed in range(30)
    ]
    assert (max(shares) <= 0.75) is kept


def test_uniform_image_is_accepted_after_all():
    labels = np.full((40, 60), 3, np.uint8)
    sample = Sample(image=np.zeros((40, 60, 3), np.uint8), domain="d", key="k", labels=labels)
    out = train_transform(sample, TransformConfig(crop=(20, 20)), np.random.default_rng(0))
    assert set(np.unique(out.labels)) <= {3, 255}


def test_share_leaves_ignored_pixels_out():
    assert largest_class_share(np.array([[0, 0, 0, 1], [255, 255, 255, 255]], np.uint8)) == 0.75
    assert largest_class_share(np.full((2, 2), 255, np.uint8)) == 1.0


def test_sample_without_labels():
    sample = Sample(image=coordinate_sample().image, domain="d", key="k")
    out = train_transform(sample, TransformConfig(crop=(30, 40)), np.random.default_rng(0))
    assert out.labels is None
    assert out.image.shape == (30, 40, 3)


def test_scales_of_the_recipe():
    assert TransformConfig().scale_ratios == pytest.approx(np.linspace(0.5, 2.0, 16))


def test_photometric_switch():
    assert TransformConfig(photometric=False).photometric is None
    assert TransformConfig(photometric=True) == TransformConfig()
    assert TransformConfig.model_validate({"photometric": {"hue": 0}}).photometric.hue == 0
    with pytest.raises(ValidationError, match="Extra inputs"):
        TransformConfig.model_validate({"crops": [3, 3]})


def test_to_tensor():
    image = np.array([[[0, 51, 255], [102, 0, 0]]], np.uint8)
    tensor = to_tensor(image, (0.5, 0.0, 0.25), (0.5, 1.0, 0.25))
    assert tensor.shape == (3, 1, 2)
    expected = [[[-1, -0.2]], [[0.2, 0]], [[3, -1]]]
    np.testing.assert_allclose(tensor.numpy(), expected, atol=1e-6)
