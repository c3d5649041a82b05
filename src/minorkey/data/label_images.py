"""Label images: the ids in a file exactly as they are written, which is not always what Pillow makes of them."""

from pathlib import Path

import numpy as np
from PIL import ImageOps
from PIL.ImageFile import ImageFile

from minorkey.data.images import low_bytes, opened_image, raw_mode, read_image, three_channels
from minorkey.data.plain_images import read_plain_png
from minorkey.errors import DataError

LABEL_SUFFIXES = frozenset({".png", ".bmp", ".gif", ".tif", ".tiff"})
"""What `.*` stands for in a pattern of label files."""

LOSSLESS = frozenset({"PNG", "BMP", "DIB", "TIFF", "GIF", "PPM"})
"""Formats that change no value; JPEG smooths ids into others. WebP can be either."""
LOSSY_TIFF = frozenset({"jpeg", "tiff_jpeg", "webp", "tiff_sgilog", "tiff_sgilog24", "tiff_thunderscan"})

STEPS = {"2": 85, "4": 17}
"""Bits of a grey value -> what Pillow multiplies it with, so that the largest is 255."""


def read_ids(file: str | Path, content: bytes | None = None) -> np.ndarray:
    """The ids of a label image as (H, W) uint8, uint16 or int32: grey values of 1 to 32 bits, or palette indices.

    Of a GIF the grey values of its palette, whose order is that of whoever wrote the file last. Where there are several
    channels they must be equal, and nothing transparent. As images, labels are turned upright.

    Args:
        file: its path, or the name of `content` in errors.
        content: of the file, where it is not read from disk.

    Raises:
        DataError: the file is missing, unreadable or truncated, of a format that changes ids, or holds colours in place
            of ids.
    """
    plain = read_plain_png(file, content)
    if plain is not None and plain.ndim == 2:
        return plain
    with opened_image(file, content) as image:
        _refuse_lossy(image, file, content)
        written = raw_mode(image)
        ImageOps.exif_transpose(image, in_place=True)
        shown = image.convert("RGB") if image.format == "GIF" else image
        pixels = np.array(shown)
        if pixels.ndim == 3:
            return _one_channel(pixels, shown.mode, written, file)
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            raise _no_ids(file, image.mode)
    return _as_written(pixels, written)


def read_low_byte(file: str | Path, content: bytes | None = None) -> np.ndarray:
    """The low byte of the first channel of a label image with three or four channels of 16 bits, (H, W) uint8.

    SYNTHIA keeps its ids there; what Pillow makes of such a file by itself is the high byte, all 0.

    Args:
        file: its path, or the name of `content` in errors.
        content: of the file, where it is not read from disk.

    Raises:
        DataError: the file is missing, unreadable or truncated, or of another kind.
    """
    low = low_bytes(file, content)
    if low is None:
        with opened_image(file, content) as image:
            raise DataError(f"{file}: label image has mode {image.mode}, expected a PNG of 16-bit colours")
    return low[..., 0]


def read_colours(file: str | Path, content: bytes | None = None) -> np.ndarray:
    """The colours of a label image as (H, W, 3) uint8 RGB.

    Args:
        file: its path, or the name of `content` in errors.
        content: of the file, where it is not read from disk.

    Raises:
        DataError: the file is missing, unreadable, truncated or of a format that changes colours.
    """
    plain = read_plain_png(file, content)
    if plain is not None:
        return three_channels(plain)
    with opened_image(file, content) as image:
        _refuse_lossy(image, file, content)
    return read_image(file, content)


def _as_written(pixels: np.ndarray, written: str) -> np.ndarray:
    """Grey values as they are in the file; `written` is its raw mode, e.g. `L;4`, `L;2I` (white is 0) or `1;I`."""
    mode, _, form = written.partition(";")
    ids = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    if mode not in ("1", "L"):
        return ids
    if "I" in form:
        ids = (1 if mode == "1" else 255) - ids
    return ids // STEPS.get(form[:1], 1) if mode == "L" else ids


def _one_channel(pixels: np.ndarray, mode: str, written: str, file: str | Path) -> np.ndarray:
    """The ids of an image with channels (H, W, C) that all say the same."""
    if "16" in written:
        raise DataError(
            f"{file}: label image has {mode} channels of 16 bits, expected one channel of ids; save it as grey, or say "
            "`encoding: low_byte` in dataset.yaml if ids are in the low byte of the first"
        )
    if mode not in ("LA", "RGB", "RGBA"):
        raise _no_ids(file, mode)
    opaque = mode == "RGB" or bool((pixels[..., -1] == 255).all())
    colours = pixels[..., : 1 if mode == "LA" else 3]
    if (colours != colours[..., :1]).any():
        raise _no_ids(file, mode)
    if not opaque:
        raise DataError(f"{file}: label image has transparent pixels, whose id is not clear; save it without alpha")
    return np.ascontiguousarray(colours[..., 0])


def _refuse_lossy(image: ImageFile, file: str | Path, content: bytes | None) -> None:
    """Raise where a label image is in a format that changes ids, whatever its name says."""
    kind, packed = image.format, image.info.get("compression")
    if kind == "PPM" and image.tile[0].codec_name.startswith("ppm"):
        raise DataError(f"{file}: label image has a largest value of its own, and its ids are scaled; save it as PNG")
    lossless = packed not in LOSSY_TIFF if kind == "TIFF" else kind in LOSSLESS
    if lossless or (kind == "WEBP" and _start(file, content)[12:16] == b"VP8L"):
        return
    name = f"TIFF packed by {packed}" if kind == "TIFF" else kind
    raise DataError(
        f"{file}: label image is {name} by its content, which changes ids; expected a format without loss, e.g. PNG: "
        "save it anew from the labels as they were before"
    )


def _start(file: str | Path, content: bytes | None) -> bytes:
    if content is not None:
        return content[:16]
    with open(file, "rb") as stream:
        return stream.read(16)


def _no_ids(file: str | Path, mode: str) -> DataError:
    return DataError(
        f"{file}: label image has mode {mode}, expected one channel of ids (8 or 16 bits); "
        "if its colours stand for classes, give them as `colours` in dataset.yaml"
    )
