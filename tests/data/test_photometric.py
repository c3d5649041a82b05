import colorsys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from minorkey.data.photometric import Distortion, PhotometricConfig, change_colours, distort, draw_distortion

NOISE = torch.rand(6, 3, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
HARD = [(0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0.5, 0.5, 0.5), (1, 0, 1), (0.2, 0.2, 0.7)]
"""Ties between channels, no colour, no light."""


def reference(pixel: np.ndarray, change: Distortion) -> np.ndarray:
    """One pixel by the standard library, in the order of the augmentation of SSD."""
    pixel = np.clip(pixel + change.brightness, 0, 1)
    if not change.contrast_last:
        pixel = np.clip(pixel * change.contrast, 0, 1)
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    saturation = min(1, saturation * change.saturation)
    pixel = np.array(colorsys.hsv_to_rgb((hue + change.hue / 360) % 1, saturation, value))
    return np.clip(pixel * change.contrast, 0, 1) if change.contrast_last else pixel


def reference_images(images: torch.Tensor, changes: list[Distortion]) -> np.ndarray:
    return np.stack(
        [
            np.apply_along_axis(reference, 0, image, change)
            for image, change in zip(images.numpy(), changes, strict=True)
        ]
    )


def random_changes(count: int, seed: int = 0) -> list[Distortion]:
    config = PhotometricConfig(probability=0.8, saturation=(0.2, 3), hue=180)
    return [draw_distortion(config, np.random.default_rng([seed, index])) for index in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_a_batch_equals_its_pixels_by_the_standard_library(seed):
    changes = random_changes(len(NOISE), seed)
    assert len(set(changes)) == len(NOISE)
    expected = reference_images(NOISE, changes)
    np.testing.assert_allclose(distort(NOISE, torch.tensor(changes, dtype=torch.float64)), expected, atol=1e-12)
    single = distort(NOISE.float(), torch.tensor(changes))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, atol=2e-5)  # 1/200 of a grey level


def test_hard_colours():
    images = torch.tensor(HARD, dtype=torch.float64).T.reshape(1, 3, 1, -1).repeat(6, 1, 1, 1)
    changes = random_changes(6, seed=9)
    actual = distort(images, torch.tensor(changes, dtype=torch.float64))
    np.testing.assert_allclose(actual, reference_images(images, changes), atol=1e-12)


def test_an_image_does_not_depend_on_its_batch():
    changes = torch.tensor(random_changes(len(NOISE)))
    alone = torch.cat([distort(NOISE[i : i + 1].float(), changes[i : i + 1]) for i in range(len(NOISE))])
    assert torch.equal(alone, distort(NOISE.float(), changes))


def test_no_distortion():
    images = NOISE.float()
    torch.testing.assert_close(distort(images, torch.tensor([Distortion()] * len(images))), images, atol=1e-6, rtol=0)


def test_grey_has_no_colour_to_change():
    grey = NOISE[:, :1].expand(-1, 3, -1, -1)
    assert torch.equal(change_colours(grey, 1.5, 40), grey)


def test_probability_and_seed():
    never, always = PhotometricConfig(probability=0), PhotometricConfig(probability=1)
    nothing = draw_distortion(never, np.random.default_rng(0))
    assert nothing[:4] == Distortion()[:4]
    first, again, other = (draw_distortion(always, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again
    assert all(one != two for one, two in zip(first[:4], other[:4], strict=True))


def test_as_much_is_drawn_whatever_happens():
    generators = [np.random.default_rng(0) for _ in range(2)]
    for probability, rng in zip((0, 1), generators, strict=True):
        draw_distortion(PhotometricConfig(probability=probability), rng)
    assert generators[0].random() == generators[1].random()


def test_ranges():
    config = PhotometricConfig(probability=1, contrast=(0.9, 1.2), saturation=(1, 2), hue=10, brightness=51)
    drawn = np.array([draw_distortion(config, np.random.default_rng(seed)) for seed in range(300)])
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    np.testing.assert_allclose(low, [-0.2, 0.9, 1, -10, 0], atol=0.3 * (high - low).max() / 30)
    np.testing.assert_allclose(high, [0.2, 1.2, 2, 10, 1], atol=0.3 * (high - low).max() / 30)
    assert (low >= [-0.2, 0.9, 1, -10, 0]).all()
    assert (high <= [0.2, 1.2, 2, 10, 1]).all()
    off = np.array([draw_distortion(PhotometricConfig(), np.random.default_rng(seed))[0] == 0 for seed in range(300)])
    assert 0.4 < off.mean() < 0.6


def test_range_is_checked():
    with pytest.raises(ValidationError, match="expected a range"):
        PhotometricConfig(contrast=(1.5, 0.5))
