"""Night and glare, in linear light: definitions of our own, motivated by what light, lenses and sensors do."""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from minorkey.data.corruptions.pixels import from_light, luminance, to_light
from minorkey.data.corruptions.textures import plasma

NIGHT_EXPOSURE = (0.4, 0.25, 0.15, 0.09, 0.05)  # light of the surroundings, that of a well exposed day being 1
NIGHT_FLATTENING = (0.5, 0.7, 0.85, 0.95, 1.0)  # power to which daylight is divided out
NIGHT_PHOTONS = (1000, 600, 350, 200, 120)  # that white is made of
NIGHT_READ_NOISE = (0.001, 0.0015, 0.002, 0.003, 0.004)  # standard deviation, share of the full range
SKY_GLOW = np.array([0.45, 0.55, 0.8], np.float32)
STREET_LAMPS = np.array([2.6, 1.8, 0.9], np.float32)
MIDDLE_GREY = 0.18

GLARE_VEIL = (0.2, 0.4, 0.7, 1.1, 1.7)  # scattered light beside the source, white being 1
GLARE_COLOUR = np.array([1.0, 0.94, 0.82], np.float32)


def night(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Take the daylight out of the scene, light it dimly anew, keep what shines by itself, and add noise.

    1. Daylight is the smooth part of luminance; it is divided out in part, and wholly at severity 5, so that the
       sky is no longer the brightest thing.
    2. The new light is a bluish glow with warm pools, like those of street lamps, at random places.
    3. Small spots much brighter than what is around them, and bright ones of strong colour, count as lamps: they
       keep their light and bloom.
    4. The sensor counts few photons and adds the noise of reading them out; encoding applies the usual gamma.
    """
    level = severity - 1
    light = to_light(image)
    grey = luminance(light)
    daylight = smooth_part(grey, 0.12 * min(grey.shape))
    lamps = _lamps(light, grey, daylight)[..., None]
    scene = light * (daylight ** -NIGHT_FLATTENING[level])[..., None]
    # half way between a fixed camera and one that brings every scene to the same brightness
    scene *= NIGHT_EXPOSURE[level] * np.sqrt(grey.mean() * MIDDLE_GREY) / max(luminance(scene).mean(), 1e-4)
    pools = plasma(grey.shape, 3.0, rng)[..., None] ** 3
    lit = scene * (SKY_GLOW + STREET_LAMPS * pools) * (1 - lamps) + light * lamps + _bloom(light * lamps)
    return from_light(_expose(lit, NIGHT_PHOTONS[level], NIGHT_READ_NOISE[level], rng))


def glare(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A low sun at a random place of the upper half: a saturated core, a bloom and a veil over the whole image.

    Light scattered in the lens falls with the square of the distance (as the glare inside the eye does, 10 / θ²,
    Vos 1984) and is added to the scene, for which the camera shortens its exposure.
    """
    veil = GLARE_VEIL[severity - 1]
    height, width = image.shape[:2]
    row, column = rng.uniform(0.08, 0.4) * height, rng.uniform(0.2, 0.8) * width
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(rows - row, columns - column).astype(np.float32) / min(height, width)
    core = 2 * np.exp(-((distance / (0.03 + 0.02 * veil)) ** 2))
    scattered = (core + veil / (1 + (distance / 0.22) ** 2))[..., None] * GLARE_COLOUR
    return from_light(to_light(image) / np.float32(1 + 0.5 * veil) + scattered)


def smooth_part(grey: np.ndarray, radius: float) -> np.ndarray:
    """The part of luminance (H, W) that varies slowly but keeps large edges, at least 0.02.

    A guided filter of the image by itself, epsilon 0.01 (He, Sun and Tang, Guided Image Filtering, ECCV 2010), its
    coefficients computed at a quarter of the size.

    Args:
        grey: in `[0, 1]`.
        radius: half the side of the filter's window, in pixels.
    """
    small = np.asarray(Image.fromarray(grey).reduce(4))
    window = 2 * max(1, round(radius / 4)) + 1
    mean = uniform_filter(small, window)
    variance = (uniform_filter(small * small, window) - mean * mean).clip(0)
    gain = variance / (variance + 0.01)
    slopes, offsets = (_enlarge(uniform_filter(each, window), grey.shape) for each in (gain, mean * (1 - gain)))
    return (slopes * grey + offsets).clip(0.02)


def _lamps(light: np.ndarray, grey: np.ndarray, daylight: np.ndarray) -> np.ndarray:
    """How much a pixel counts as a light source, (H, W) in `[0, 1]`."""
    brightest = light.max(axis=2)
    spot = ((grey - 1.5 * daylight) / 0.3).clip(0, 1)
    crowd = uniform_filter(spot, max(3, min(grey.shape) // 10))
    spot *= (1 - 10 * crowd).clip(0)  # many spots together are daylight seen through leaves, not lamps
    signal = ((brightest - light.min(axis=2) - 0.45) / 0.3).clip(0, 1)
    return np.maximum(spot, signal) * ((brightest - 0.3) / 0.3).clip(0, 1)


def _bloom(light: np.ndarray) -> np.ndarray:
    """What of the light (H, W, 3) a lens spreads around it, computed at a quarter of the size."""
    side = min(light.shape[:2]) / 4
    planes = [np.asarray(Image.fromarray(np.ascontiguousarray(light[..., c])).reduce(4)) for c in range(3)]
    halos = [0.5 * gaussian_filter(each, 0.008 * side) + 1.5 * gaussian_filter(each, 0.04 * side) for each in planes]
    return np.stack([_enlarge(each, light.shape[:2]) for each in halos], axis=2)


def _enlarge(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(Image.fromarray(plane).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _expose(light: np.ndarray, photons: float, read_noise: float, rng: np.random.Generator) -> np.ndarray:
    """Add photon noise, near enough Gaussian, and read noise; both as shares of the full range."""
    noise = rng.standard_normal(light.shape, np.float32)
    return light + noise * np.sqrt(light.clip(0) / photons + read_noise**2)
