import colorsys

import numpy as np
import pytest
from pydantic import ValidationError

from minorkey.data.photometric import PhotometricConfig, change_colours, change_tones, distort

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


@pytest.mark.parametrize(("factor", "degrees"), [(0.5, 0), (1.5, 0), (1, 36), (1.3, -90)])
def test_colours_against_the_standard_library(factor, degrees):
    def reference(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        return colorsys.hsv_to_rgb((hue + degrees / 360) % 1, min(1, saturation * factor), value)

    expected = 255 * np.array([reference(pixel) for pixel in IMAGE.reshape(-1, 3)]).reshape(IMAGE.shape)
    difference = abs(change_colours(IMAGE, factor, degrees) - expected)
    assert difference.max() < 8  # hue has 256 levels
    assert difference.mean() < 1.5


def test_tones():
    levels = np.array([[[0, 100, 250]]], np.uint8)
    assert change_tones(levels, 1.5, 0).tolist() == [[[0, 150, 255]]]
    assert change_tones(levels, 1, -20).tolist() == [[[0, 80, 230]]]


def test_grey_has_no_colour_to_change():
    grey = IMAGE[..., :1].repeat(3, axis=2)
    assert np.array_equal(change_colours(grey, 1.5, 40), grey)


def test_probability_and_seed():
    never, always = PhotometricConfig(probability=0), PhotometricConfig(probability=1)
    assert np.array_equal(distort(IMAGE, never, np.random.default_rng(0)), IMAGE)
    first, again, other = (distort(IMAGE, always, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.uint8


def test_brightness_stays_in_its_range():
    config = PhotometricConfig(probability=1, contrast=(1, 1), saturation=(1, 1), hue=0, brightness=10)
    grey = np.full((2, 2, 3), 128, np.uint8)
    shifts = [int(distort(grey, config, np.random.default_rng(seed))[0, 0, 0]) - 128 for seed in range(50)]
    assert -10 <= min(shifts) < -5
    assert 5 < max(shifts) <= 10


def test_range_is_checked():
    with pytest.raises(ValidationError, match="expected a range"):
        PhotometricConfig(contrast=(1.5, 0.5))
