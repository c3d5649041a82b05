"""What processing and storage do to an image. Parameters of ImageNet-C."""

from io import BytesIO

import numpy as np
from PIL import Image

from minorkey.data.corruptions.pixels import length_scale, to_pixels, to_unit

CONTRAST_FACTOR = (0.4, 0.3, 0.2, 0.1, 0.05)
BRIGHTNESS_SHIFT = (0.1, 0.2, 0.3, 0.4, 0.5)
JPEG_QUALITY = (25, 18, 15, 10, 7)
PIXELATE_FACTOR = (0.6, 0.5, 0.4, 0.3, 0.25)


def contrast(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Shrink the distance to the mean of each channel. Nothing is random."""
    values = to_unit(image)
    mean = values.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    return to_pixels((values - mean) * CONTRAST_FACTOR[severity - 1] + mean)


def brightness(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Raise the value V of HSV, hue and saturation kept. Nothing is random."""
    rgb = to_unit(image)
    value = rgb.max(axis=2, keepdims=True)
    raised = (value + BRIGHTNESS_SHIFT[severity - 1]).clip(max=1)
    black = value == 0
    return to_pixels(np.where(black, raised, rgb * (raised / np.where(black, 1, value))))


def jpeg(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Store as JPEG at low quality and read back. Nothing is random; blocks are 8 pixels at any size."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY[severity - 1])
    return np.array(Image.open(file))


def pixelate(image: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Reduce to few pixels and enlarge again, both by box filter. Nothing is random.

    What is left is the table's share of 224 pixels on the short side, or of the side itself where it is shorter.
    """
    factor = PIXELATE_FACTOR[severity - 1] / max(1.0, length_scale(image))
    height, width = image.shape[:2]
    small = (max(1, int(width * factor)), max(1, int(height * factor)))
    picture = Image.fromarray(image).resize(small, Image.Resampling.BOX)
    return np.array(picture.resize((width, height), Image.Resampling.BOX))
