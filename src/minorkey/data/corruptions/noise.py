"""Noise of the sensor, independent in every pixel and channel of an image of any size. Parameters of ImageNet-C."""

import numpy as np

from minorkey.data.corruptions.pixels import to_pixels, to_unit

GAUSSIAN_SIGMA = (0.08, 0.12, 0.18, 0.26, 0.38)
SHOT_PHOTONS = (60, 25, 12, 5, 3)
IMPULSE_SHARE = (0.03, 0.06, 0.09, 0.17, 0.27)


def gaussian_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise; its standard deviation is a share of the full range."""
    noise = rng.standard_normal(image.shape, np.float32)
    return to_pixels(to_unit(image) + GAUSSIAN_SIGMA[severity - 1] * noise)


def shot_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Draw every value from a Poisson distribution: white is that many photons."""
    photons = SHOT_PHOTONS[severity - 1]
    return to_pixels(rng.poisson(to_unit(image) * photons).astype(np.float32) / photons)


def impulse_noise(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Set a share of the values to 0 or 255, equally often (salt and pepper)."""
    share, chance = IMPULSE_SHARE[severity - 1], rng.random(image.shape, np.float32)
    noisy = image.copy()
    noisy[chance < share / 2] = 0
    noisy[chance > 1 - share / 2] = 255
    return noisy
