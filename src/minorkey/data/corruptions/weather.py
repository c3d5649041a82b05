"""Fog and snow as in ImageNet-C, and rain of our own. None of them knows how far away things are."""

from math import ceil, exp, pi

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from minorkey.data.corruptions.kernels import convolve, trail
from minorkey.data.corruptions.pixels import from_light, length_scale, luminance, to_light, to_pixels, to_unit
from minorkey.data.corruptions.textures import plasma

FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))  # density, roughness
SNOW = (  # mean and deviation of the noise, size of a flake, threshold, radius and sigma of the fall, share kept
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, for stored values

RAIN_RATE = (5.0, 12.5, 25.0, 50.0, 100.0)  # mm/h
RAIN_DAYLIGHT = (0.95, 0.85, 0.75, 0.65, 0.55)  # what clouds leave of the light
RAIN_DEPTH = 0.06  # km; the distance whose veil covers the whole image
DROPS = 8000.0  # per cubic metre and mm of diameter, in the limit of small drops (Marshall and Palmer 1948)
RAIN_LAYERS = (  # streaks per 224 x 224 pixels at 25 mm/h; length, width in pixels; opacity
    (14, 34.0, 1.1, 0.45),
    (70, 18.0, 0.7, 0.32),
    (320, 9.0, 0.45, 0.22),
)


def fog(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add a cloudy white layer and bring the result back to the range of the image.

    The amplitudes fall from one octave to the next by the square of the table's roughness, as they do in the
    reference implementation, where both the range and the factor of the random steps shrink.
    """
    density, roughness = FOG[severity - 1]
    values = to_unit(image)
    brightest = values.max()
    layer = plasma(image.shape[:2], roughness**2, rng)[..., None]
    return to_pixels((values + density * layer) * (brightest / (brightest + density)))


def snow(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Whiten the scene and let flakes fall, blurred by their motion along one direction."""
    mean, deviation, size, threshold, radius, sigma, kept = SNOW[severity - 1]
    values, scale = to_unit(image), length_scale(image)
    height, width = (max(1, round(side / scale)) for side in image.shape[:2])
    noise = rng.normal(mean, deviation, (ceil(height / size), ceil(width / size))).astype(np.float32)
    flakes = _resize(noise, (height, width))
    flakes = np.where(flakes < threshold, 0, flakes.clip(0, 1))
    flakes = convolve(flakes, trail(2 * radius, sigma, rng.uniform(45, 135)))
    layer = _resize(flakes + flakes[::-1, ::-1], image.shape[:2])
    white = np.maximum(values, (values @ GREY * 1.5 + 0.5)[..., None])
    return to_pixels(kept * values + (1 - kept) * white + layer[..., None])


def rain(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Rain at 5 to 100 mm/h: less daylight, a grey veil, and streaks in three distances, in linear light.

    The veil is that of `rain_extinction` at one distance for the whole image. Streaks grow in number as the drops
    above 1 mm do, and take the colour of the brightest part of the scene, since a drop gathers light from a wide
    angle (Garg and Nayar, Vision and Rain, IJCV 2007).
    """
    rate = RAIN_RATE[severity - 1]
    light = to_light(image) * RAIN_DAYLIGHT[severity - 1]
    bright: np.ndarray = np.percentile(light[::4, ::4], 90, axis=(0, 1)).astype(np.float32)
    bright = 0.5 * bright + 0.5 * luminance(bright)
    transmission = exp(-rain_extinction(rate) * RAIN_DEPTH)
    light = light * transmission + 0.7 * bright * (1 - transmission)
    opacity = _streaks(image, large_drops(rate) / large_drops(25), rng)[..., None]
    return from_light(light * (1 - opacity) + bright * opacity)


def rain_extinction(rate: float) -> float:
    """Extinction coefficient, 1/km, of rain of `rate` mm/h: 0.365 rate^0.63.

    Drops are large against the wavelength, so each takes twice the light that falls on its disc: the integral of
    2 (pi / 4) D^2 N(D), which is pi 8000 / slope^3 mm^2 in a cubic metre.
    """
    return 1e-3 * pi * DROPS / _drop_slope(rate) ** 3


def large_drops(rate: float) -> float:
    """Drops above 1 mm in a cubic metre of air at `rate` mm/h: the integral of N(D) from there on."""
    slope = _drop_slope(rate)
    return DROPS / slope * exp(-slope)


def _drop_slope(rate: float) -> float:
    """Per mm of diameter D; the density of drops is N(D) = 8000 exp(-slope D) (Marshall and Palmer 1948)."""
    return 4.1 * rate**-0.21


def _streaks(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Opacity (H, W) of the streaks of all layers."""
    height, width = image.shape[:2]
    scale, slant = length_scale(image), rng.uniform(70, 110)
    clear = np.ones((height, width), np.float32)
    for count, length, thickness, opacity in RAIN_LAYERS:
        drops = rng.poisson(count * amount * height * width / (224 * scale) ** 2)
        points = np.zeros((height, width), np.float32)
        rows, columns = rng.integers(0, height, drops), rng.integers(0, width, drops)
        np.add.at(points, (rows, columns), rng.uniform(0.4, 1, drops))
        kernel = np.pad(trail(length * scale, length * scale, slant + rng.normal(0, 1.5)), round(3 * thickness * scale))
        kernel = gaussian_filter(kernel, thickness * scale / 2)
        clear *= 1 - (opacity * convolve(points, kernel / kernel.max())).clip(0, 0.9)
    return 1 - clear


def _resize(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(Image.fromarray(plane).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))
