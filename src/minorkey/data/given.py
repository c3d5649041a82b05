"""What a caller gives as an image, as pixels: a file, an open PIL image, an array."""

from pathlib import Path

import numpy as np
from PIL import Image

from minorkey.data.deep_images import opened_values, read_pixels
from minorkey.data.images import rgb_pixels
from minorkey.data.pixels import PixelOptions
from minorkey.errors import DataError
from minorkey.system.reading import words

ImageLike = str | Path | Image.Image | np.ndarray
EXPECTED = "expected (H, W, 3) uint8 RGB, of at least one pixel"


def as_image(image: ImageLike, pixels: PixelOptions) -> np.ndarray:
    """Any accepted image as `as_rgb` has it or, where something is said of its values, as that says.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(image, (str, Path)):
        return read_pixels(image, pixels=pixels)
    if not pixels.stated:
        return as_rgb(image)
    if isinstance(image, Image.Image):
        name = getattr(image, "filename", "") or "the PIL image"
        return pixels.image(opened_values(image, name), name)
    return pixels.image(_array(image), "the array")


def is_one_image(images: object) -> bool:
    """Whether an array is one image, grey or of up to four channels, and not a stack of several."""
    return isinstance(images, np.ndarray) and (images.ndim == 2 or (images.ndim == 3 and images.shape[2] <= 4))


def as_rgb(image: ImageLike) -> np.ndarray:
    """Any accepted image as `(H, W, 3)` uint8 RGB.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(image, (str, Path)):
        return read_pixels(image)
    if isinstance(image, Image.Image):
        return rgb_pixels(image, getattr(image, "filename", "") or "the PIL image")
    array = _array(image)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise DataError(f"got an array of shape {array.shape} and type {array.dtype}; {EXPECTED}")
    return array


def _array(image: object) -> np.ndarray:
    try:
        return np.asarray(image)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of several lengths; a tensor on a GPU
        raise DataError(f"got a {type(image).__name__} that is no array ({words(error)}); {EXPECTED}") from error
