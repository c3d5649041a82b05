"""Images and label files on disk: listed, read and checked; an error is one line that names the file."""

import glob
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from minorkey.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})
LABEL_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})
"""Lossless formats only: JPEG would change ids."""


def list_images(where: str | Path) -> list[Path]:
    """The images at a path: a file, all images below a folder, or those that match a glob, sorted.

    Raises:
        DataError: there are none.
    """
    path = Path(where)
    if path.is_file():
        return [path]
    found = path.rglob("*") if path.is_dir() else map(Path, glob.glob(str(where), recursive=True))
    images = sorted(file for file in found if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    if not images:
        reason = "holds no images" if path.is_dir() else "names no file, folder or glob that matches images"
        raise DataError(f"{where} {reason}; expected one of {', '.join(sorted(IMAGE_SUFFIXES))}")
    return images


def read_image(file: str | Path) -> np.ndarray:
    """An image as (H, W, 3) uint8 RGB, upright by its EXIF orientation.

    Greyscale is repeated over the channels, alpha is dropped, 16 bits are cut to the upper 8.

    Raises:
        DataError: the file is missing, unreadable, truncated or has floating point pixels.
    """
    with _opened(file) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode == "F":
        raise DataError(f"{file}: image has floating point pixels; convert it to 8 or 16 bits")
    if upright.mode.startswith("I"):
        grey = (np.asarray(upright).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(upright.convert("RGB"))


def read_ids(file: str | Path) -> np.ndarray:
    """The ids of a label image as (H, W) uint8, uint16 or int32: grey values, or palette indices.

    Raises:
        DataError: the file is missing, unreadable or truncated, or holds colours in place of ids.
    """
    with _opened(file) as image:
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            raise DataError(
                f"{file}: label image has mode {image.mode}, expected one channel of ids (8 or 16 bits); "
                "if its colours stand for classes, give them as `colours` in dataset.yaml"
            )
        ids = np.array(image)
    return ids.astype(np.uint8) if ids.dtype == bool else ids


@contextmanager
def _opened(file: str | Path) -> Iterator[Image.Image]:
    """An open image; whatever Pillow raises on broken files becomes a `DataError`."""
    try:
        with Image.open(file) as image:
            yield image
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing; expected an image file") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        reason = "is not an image that can be read" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise DataError(f"{file}: broken image ({reason}); replace or remove the file") from error
