"""Images and label files on disk: listed, read and checked; an error is one line that names the file."""

import glob
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from minorkey.data.plain_images import read_plain_jpeg, read_plain_png
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


def read_image(file: str | Path, content: bytes | None = None) -> np.ndarray:
    """An image as (H, W, 3) uint8 RGB, upright by its EXIF orientation.

    Greyscale is repeated over the channels, alpha is dropped, 16 bits are cut to the upper 8.

    Args:
        file: its path, or the name of `content` in errors.
        content: of the file, where it is not read from disk, e.g. because it lies in an archive.

    Raises:
        DataError: the file is missing, unreadable, truncated or has floating point pixels.
    """
    plain = read_plain_png(file, content)
    if plain is None:
        plain = read_plain_jpeg(file, content)
    if plain is not None:
        return plain if plain.ndim == 3 else np.repeat(plain[..., None], 3, axis=2)
    with _opened(file, content) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode == "F":
        raise DataError(f"{file}: image has floating point pixels; convert it to 8 or 16 bits")
    if upright.mode.startswith("I"):
        grey = (np.asarray(upright).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(upright.convert("RGB"))


def mean_luma(file: str | Path, content: bytes | None = None) -> float:
    """The mean over an image of its luma of ITU-R 601, 0.299 R + 0.587 G + 0.114 B, from 0 to 255.

    Args:
        file: its path, or the name of `content` in errors.
        content: of the file, where it is not read from disk.

    Raises:
        DataError: the file is missing, unreadable, truncated or has floating point pixels.
    """
    with _opened(file, content) as image:
        # JPEG stores this luma beside the colours, which then need not be decoded.
        image.draft("L", image.size)
        if image.mode == "L":
            return float(np.asarray(image).mean())
    return float(np.asarray(Image.fromarray(read_image(file, content)).convert("L")).mean())


def read_ids(file: str | Path, content: bytes | None = None) -> np.ndarray:
    """The ids of a label image as (H, W) uint8, uint16 or int32: grey values, or palette indices.

    Args:
        file: its path, or the name of `content` in errors.
        content: of the file, where it is not read from disk.

    Raises:
        DataError: the file is missing, unreadable or truncated, or holds colours in place of ids.
    """
    plain = read_plain_png(file, content)
    if plain is not None and plain.ndim == 2:
        return plain
    with _opened(file, content) as image:
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            raise DataError(
                f"{file}: label image has mode {image.mode}, expected one channel of ids (8 or 16 bits); "
                "if its colours stand for classes, give them as `colours` in dataset.yaml"
            )
        ids = np.array(image)
    return ids.astype(np.uint8) if ids.dtype == bool else ids


def read_low_byte(file: str | Path, content: bytes | None = None) -> np.ndarray:
    """The low byte of the first channel of a label image with three or four channels of 16 bits, (H, W) uint8.

    SYNTHIA keeps its ids there; what Pillow makes of such a file by itself is the high byte, all 0.

    Args:
        file: its path, or the name of `content` in errors.
        content: of the file, where it is not read from disk.

    Raises:
        DataError: the file is missing, unreadable or truncated, or of another kind.
    """
    with _opened(file, content) as image:
        mode = image.tile[0][3] if image.tile else None
        if mode not in ("RGB;16B", "RGBA;16B"):
            raise DataError(f"{file}: label image has mode {image.mode}, expected a PNG of 16-bit colours")
        # The same bytes taken as little-endian: Pillow keeps the second byte of each, which is the low one here.
        image.tile = [(*image.tile[0][:3], mode.replace("16B", "16L"))]  # type: ignore[list-item]
        return np.array(image)[..., 0]


@contextmanager
def _opened(file: str | Path, content: bytes | None) -> Iterator[ImageFile.ImageFile]:
    """An open image; whatever Pillow raises on broken files becomes a `DataError`."""
    try:
        with Image.open(file if content is None else io.BytesIO(content)) as image:
            yield image
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing; expected an image file") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        reason = "is not an image that can be read" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise DataError(f"{file}: broken image ({reason}); replace or remove the file") from error
