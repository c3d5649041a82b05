"""Random textures: clouds of fog and pools of light."""

import numpy as np
from PIL import Image

OCTAVES = 8  # cells of 1/2, 1/4 ... 1/256 of the short side


def plasma(shape: tuple[int, int], decay: float, rng: np.random.Generator) -> np.ndarray:
    """A cloudy texture (H, W) float32, its lowest value 0, its highest 1.

    A sum of smooth random fields; each has cells half as large as the one before, and `decay` times less amplitude.
    The number of octaves is fixed, so the texture of a large image is that of a small one, enlarged.
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(1, OCTAVES + 1):
        cell = min(shape) / 2**octave
        columns, rows = int(np.ceil(width / cell)) + 3, int(np.ceil(height / cell)) + 3
        grid = Image.fromarray(rng.uniform(-1, 1, (rows, columns)).astype(np.float32))
        box = (1.0, 1.0, 1 + width / cell, 1 + height / cell)  # the margin keeps the borders as rough as the middle
        total += decay**-octave * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC, box))
    total -= total.min()
    return total / total.max()
