"""Blur of the lens and of motion. Parameters of ImageNet-C; lengths grow with the short side of the image."""

import numpy as np
from PIL import Image

from minorkey.data.corruptions.kernels import convolve, disc, trail
from minorkey.data.corruptions.pixels import length_scale, to_pixels, to_unit

DEFOCUS_RADIUS = (3, 4, 6, 8, 10)
MOTION_RADIUS = (10, 15, 15, 15, 20)
MOTION_SIGMA = (3, 5, 8, 12, 15)
LARGEST_ZOOM = (1.10, 1.15, 1.20, 1.25, 1.30)
ZOOM_STEP = (0.01, 0.01, 0.02, 0.02, 0.03)


def defocus_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Spread every point over an even disc. Nothing is random."""
    kernel = disc(DEFOCUS_RADIUS[severity - 1] * length_scale(image))
    return to_pixels(convolve(to_unit(image), kernel))


def motion_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Smear along a random direction within 45 degrees of the horizontal.

    The trace of the reference implementation begins at the pixel; ours has its centre of mass there, so that
    objects stay where their labels are.
    """
    scale = length_scale(image)
    kernel = trail(
        length=2 * MOTION_RADIUS[severity - 1] * scale,
        sigma=MOTION_SIGMA[severity - 1] * scale,
        degrees=rng.uniform(-45, 45),
    )
    return to_pixels(convolve(to_unit(image), kernel))


def zoom_blur(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Average over growing magnifications about the centre, the image itself counted twice. Nothing is random.

    Large images take more and smaller steps, of the same weight together, so that no ghosts appear between them.
    """
    largest = LARGEST_ZOOM[severity - 1]
    weight = round((largest - 1) / ZOOM_STEP[severity - 1])
    steps = max(1, round(weight * length_scale(image)))
    picture, (height, width) = Image.fromarray(image), image.shape[:2]
    zoomed = np.zeros(image.shape, np.float32)
    for zoom in np.linspace(1, largest, steps + 1)[1:]:
        x, y = width * (1 - 1 / zoom) / 2, height * (1 - 1 / zoom) / 2
        box = (x, y, width - x, height - y)
        zoomed += np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box))
    return to_pixels((2 * to_unit(image) + weight * (zoomed / (255 * steps))) / (weight + 2))
