"""Between stored pixels, displayed values and light, and how lengths grow with the image."""

import numpy as np

REFERENCE_SIDE = 224
"""Short side, in pixels, of the images that the parameter tables were made for."""

GAMMA = 2.2
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Weights of red, green and blue in linear light (ITU-R BT.709)."""


def length_scale(image: np.ndarray) -> float:
    """Pixels of an image (H, W, ...) per pixel of a 224-pixel one, by the short side."""
    return min(image.shape[:2]) / REFERENCE_SIDE


def to_unit(image: np.ndarray) -> np.ndarray:
    """Stored pixels (...) uint8 as float32 in `[0, 1]`."""
    return image.astype(np.float32) / 255


def to_pixels(values: np.ndarray) -> np.ndarray:
    """Values (...) in `[0, 1]`, those beyond clipped, as uint8, rounded to the nearest."""
    return (values.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def to_light(image: np.ndarray) -> np.ndarray:
    """Stored pixels (...) uint8 as linear light in `[0, 1]`, float32: `(v / 255) ** 2.2`."""
    table = (np.arange(256, dtype=np.float32) / 255) ** GAMMA
    return table[image]


def from_light(light: np.ndarray) -> np.ndarray:
    """Linear light (...), clipped to `[0, 1]`, as stored pixels: the inverse of `to_light`."""
    return to_pixels(light.clip(0, 1) ** (1 / GAMMA))


def luminance(light: np.ndarray) -> np.ndarray:
    """Luminance (H, W) of linear light (H, W, 3)."""
    return light @ LUMINANCE
