"""Formulas and parameters against ImageNet-C as published (arXiv 1903.12261 and its code) and other libraries."""

import colorsys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.integrate import quad

from minorkey.data.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from minorkey.data.corruptions.kernels import convolve, disc, trail
from minorkey.data.corruptions.light import smooth_part
from minorkey.data.corruptions.textures import plasma
from minorkey.data.corruptions.weather import large_drops, rain_extinction

GREY = np.full((256, 256, 3), 128, np.uint8)


def corrupt(name: str, severity: int, image: np.ndarray) -> np.ndarray:
    return Corruption(name, severity).apply(image, "key")


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX)).astype(float)


@pytest.mark.parametrize(("severity", "sigma"), zip(SEVERITIES, (0.08, 0.12, 0.18, 0.26, 0.38), strict=True))
def test_gaussian_noise_has_the_sigma_of_the_table(severity: int, sigma: float) -> None:
    noise = corrupt("gaussian_noise", severity, GREY) / 255 - 128 / 255
    # the median does not feel the clipping
    assert 1.4826 * np.median(np.abs(noise)) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize(("severity", "photons"), [(1, 60), (2, 25), (3, 12)])
def test_shot_noise_has_mean_and_variance_of_photons(severity: int, photons: int) -> None:
    values = corrupt("shot_noise", severity, np.full_like(GREY, 51)) / 255
    assert values.mean() == pytest.approx(0.2, rel=0.01)
    assert values.var() == pytest.approx(0.2 / photons, rel=0.03)


@pytest.mark.parametrize(("severity", "share"), zip(SEVERITIES, (0.03, 0.06, 0.09, 0.17, 0.27), strict=True))
def test_impulse_noise_hits_its_share_half_salt_half_pepper(severity: int, share: float) -> None:
    values = corrupt("impulse_noise", severity, GREY)
    assert (values == 0).mean() == pytest.approx(share / 2, rel=0.05)
    assert (values == 255).mean() == pytest.approx(share / 2, rel=0.05)
    assert set(np.unique(values)) == {0, 128, 255}


@pytest.mark.parametrize(("severity", "factor"), zip(SEVERITIES, (0.4, 0.3, 0.2, 0.1, 0.05), strict=True))
def test_contrast_shrinks_to_the_mean_of_each_channel(severity: int, factor: float, street: np.ndarray) -> None:
    mean = street.mean(axis=(0, 1))
    expected = mean + factor * (street - mean)
    assert np.abs(corrupt("contrast", severity, street) - expected).max() <= 0.51


@pytest.mark.parametrize(("severity", "shift"), [(1, 0.1), (5, 0.5)])
def test_brightness_raises_v_of_hsv(severity: int, shift: float, street: np.ndarray) -> None:
    patch = np.concatenate([street[::9, ::9].reshape(-1, 3), [[0, 0, 0], [255, 0, 9]]]).astype(np.uint8)[None]
    expected = []
    for r, g, b in patch[0] / 255:
        hue, saturation, value = colorsys.rgb_to_hsv(r, g, b)
        expected.append(colorsys.hsv_to_rgb(hue, saturation, min(1, value + shift)))
    assert np.abs(corrupt("brightness", severity, patch)[0] - 255 * np.array(expected)).max() <= 0.51


@pytest.mark.parametrize(("severity", "quality"), zip(SEVERITIES, (25, 18, 15, 10, 7), strict=True))
def test_jpeg_is_pillow_at_that_quality(severity: int, quality: int, street: np.ndarray) -> None:
    file = BytesIO()
    Image.fromarray(street).save(file, "JPEG", quality=quality)
    np.testing.assert_array_equal(corrupt("jpeg", severity, street), np.asarray(Image.open(file)))


@pytest.mark.parametrize(("severity", "factor"), [(1, 0.6), (3, 0.4), (5, 0.25)])
@pytest.mark.parametrize("side", [112, 224, 448])
def test_pixelate_leaves_the_share_of_224_pixels(severity: int, factor: float, side: int, street: np.ndarray) -> None:
    square = Image.fromarray(street).resize((side, side))
    left = int(min(side, 224) * factor)
    expected = square.resize((left, left), Image.Resampling.BOX).resize((side, side), Image.Resampling.BOX)
    np.testing.assert_array_equal(corrupt("pixelate", severity, np.asarray(square)), np.asarray(expected))


@pytest.mark.parametrize("radius", [0.3, 1.5, 3, 10, 45.7])
def test_disc_is_round_and_has_its_area(radius: float) -> None:
    kernel = disc(radius)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(kernel, np.rot90(kernel), atol=1e-7)
    if radius >= 3:
        assert 1 / kernel.max() == pytest.approx(np.pi * radius**2, rel=0.05)


@pytest.mark.parametrize("degrees", [-45.0, 0.0, 30.0, 90.0, 135.0])
def test_trail_sums_to_one_lies_in_the_middle_and_along_its_direction(degrees: float) -> None:
    kernel = trail(30, 8, degrees)
    middle = len(kernel) // 2
    rows, columns = np.mgrid[-middle : middle + 1, -middle : middle + 1]
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert (kernel * rows).sum() == pytest.approx(0, abs=1e-3)
    assert (kernel * columns).sum() == pytest.approx(0, abs=1e-3)
    across = rows * np.cos(np.radians(degrees)) - columns * np.sin(np.radians(degrees))
    along = rows * np.sin(np.radians(degrees)) + columns * np.cos(np.radians(degrees))
    assert (kernel * across**2).sum() < 0.5
    # a half Gaussian has the variance sigma^2 (1 - 2 / pi)
    assert (kernel * along**2).sum() == pytest.approx(64 * (1 - 2 / np.pi), rel=0.05)


@pytest.mark.parametrize("kernel", [disc(4.0), trail(12, 5, 30)], ids=["disc", "trail"])
def test_convolution_equals_the_one_of_scipy(kernel: np.ndarray, street: np.ndarray) -> None:
    values = street[:50, :61].astype(np.float32)
    expected = np.stack([ndimage.convolve(values[..., c], kernel, mode="reflect") for c in range(3)], axis=-1)
    np.testing.assert_allclose(convolve(values, kernel), expected, atol=0.01)


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur", "zoom_blur"])
def test_a_blur_grows_with_the_image(name: str, street: np.ndarray) -> None:
    large = Image.fromarray(street).resize((480, 336), Image.Resampling.BICUBIC)
    small = np.asarray(large.resize((240, 168), Image.Resampling.BOX))
    blurred_large = shrink(corrupt(name, 3, np.asarray(large)), (240, 168))
    assert np.abs(blurred_large - corrupt(name, 3, small)).mean() < 1.0
    assert np.abs(corrupt(name, 3, small) - small.astype(float)).mean() > 3


def test_zoom_blur_is_the_mean_of_its_magnifications() -> None:
    disc_image = np.zeros((224, 224, 3), np.uint8)
    rows, columns = np.mgrid[:224, :224] - 111.5
    disc_image[np.hypot(rows, columns) < 80] = 240
    ring = corrupt("zoom_blur", 1, disc_image)[112, 112 + 84]  # 84 / 80 = 1.05: covered by the zooms above
    # 10 zooms 1.01 ... 1.10 and the image twice; 1.06 and above reach the ring at radius 84.5
    np.testing.assert_allclose(ring, 240 * 5 / 12, atol=12)


def test_plasma_fills_its_range_and_a_large_one_is_a_small_one_enlarged() -> None:
    small, large = (plasma((side, 2 * side), 4.0, np.random.default_rng(7)) for side in (64, 256))
    assert (small.min(), small.max()) == (0, 1)
    reduced = np.asarray(Image.fromarray(large).reduce(4))
    assert np.abs(reduced - small).mean() < 0.01


def test_plasma_with_less_decay_is_rougher() -> None:
    rough, smooth = (plasma((128, 128), decay, np.random.default_rng(1)) for decay in (1.96, 4.0))
    assert np.abs(np.diff(rough)).mean() > 1.3 * np.abs(np.diff(smooth)).mean()


def test_fog_follows_the_published_formula(street: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full(street.shape[:2], 0.5, np.float32)
    monkeypatch.setattr("minorkey.data.corruptions.weather.plasma", lambda *_: flat)
    values = street / 255
    expected = (values + 2.5 * 0.5) * values.max() / (values.max() + 2.5)
    assert np.abs(corrupt("fog", 3, street) - 255 * expected).max() <= 0.51


def test_large_drops_are_the_integral_of_marshall_and_palmer() -> None:
    for rate in (5, 25, 100):
        expected, _ = quad(lambda size, slope: 8000 * np.exp(-slope * size), 1, 60, args=(4.1 * rate**-0.21,))
        assert large_drops(rate) == pytest.approx(expected, rel=1e-6)


def test_rain_takes_twice_the_light_that_falls_on_its_drops() -> None:
    for rate in (5, 25, 100):
        slope = 4.1 * rate**-0.21
        area, _ = quad(lambda size, slope: np.pi / 4 * size**2 * 8000 * np.exp(-slope * size), 0, 60, args=(slope,))
        assert rain_extinction(rate) == pytest.approx(2 * area * 1e-6 * 1000, rel=1e-6)  # mm^2/m^3 to 1/km
        assert rain_extinction(rate) == pytest.approx(0.365 * rate**0.63, rel=0.002)


def test_smooth_part_keeps_a_large_edge_and_loses_texture() -> None:
    texture = 0.05 * np.random.default_rng(0).standard_normal((96, 96))
    step = np.where(np.arange(96) < 48, 0.2, 0.9)
    smooth = smooth_part((step + texture).astype(np.float32), 12)
    assert np.abs(smooth[:, :40] - 0.2).mean() < 0.04
    assert np.abs(smooth[:, 56:] - 0.9).mean() < 0.04
    assert smooth[:, :24].std() < 0.5 * texture.std()


def test_night_darkens_all_but_lamps_and_the_sky_is_no_longer_brightest() -> None:
    scene = np.full((240, 320, 3), 60, np.uint8)
    scene[:100] = (200, 220, 250)
    scene[160:166, 100:106] = 255
    scene[200:206, 200:206] = (250, 30, 20)
    dark = corrupt("night", 5, scene).astype(float)
    assert dark[162, 102].min() > 150
    assert dark[202, 202, 0] > 200 > 100 > dark[202, 202, 2]
    assert dark[:90].mean() < 60
    assert dark[:90].mean() < 1.5 * dark[110:150].mean()


def test_glare_is_brightest_at_one_place_of_the_upper_half_and_falls_with_distance() -> None:
    bright = corrupt("glare", 3, np.full((120, 160, 3), 40, np.uint8)).mean(axis=2)
    row, column = ndimage.center_of_mass(bright > 250)
    assert row < 60
    rows, columns = np.mgrid[:120, :160]
    far = np.hypot(rows - row, columns - column)
    means = [bright[(far >= r) & (far < r + 10)].mean() for r in range(0, 90, 10)]
    assert (np.diff(means) < 0).all()
    assert means[-1] > 60  # the veil reaches everything


def test_rain_draws_streaks_that_are_near_upright() -> None:
    wet = corrupt("rain", 3, np.concatenate([np.full((60, 224, 3), 220), np.full((164, 224, 3), 40)]).astype(np.uint8))
    ground = wet[80:].astype(float).mean(axis=2)
    assert ground.max() > ground.min() + 30
    across, along = np.abs(np.diff(ground, axis=1)).mean(), np.abs(np.diff(ground, axis=0)).mean()
    assert across > 2 * along


def test_every_parameter_table_is_used_at_every_severity(street: np.ndarray) -> None:
    for name in CORRUPTIONS:
        results = {corrupt(name, severity, street).tobytes() for severity in SEVERITIES}
        assert len(results) == len(SEVERITIES)
