"""The common kinds of PNG and JPEG, decoded to Pillow's pixels in less time (benchmarks/loader.py).

A third of Pillow's time for a PNG, about 0.7 of it for a JPEG.
"""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from minorkey.system.bounds import MOST_PIXELS
from minorkey.system.regular import regular_bytes

PNG_START = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">8x4x4sIIBBxxB")  # chunk type, width, height, bits, colour type, interlace
PNG_MODES = {0: "mono", 2: "rgb"}
CHUNK = struct.Struct(">I4s")  # length of its content, type
SPECIAL = frozenset({b"eXIf", b"tRNS"})
"""Chunks that change how an image is shown; Pillow knows what to do with them."""
TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
TURNING = (b"Raw profile type", b"XML:com.adobe.xmp")
"""Beginnings of texts that may say how an image is turned."""

DENSEST = 1032
"""Pixels of a byte of a PNG at most: deflate packs no more."""

JPEG_START = b"\xff\xd8\xff"
JPEG_MODES = {"L": "mono", "RGB": "rgb"}


def read_plain_png(file: str | Path, content: bytes | None = None) -> np.ndarray | None:
    """Grey values (H, W) or colours (H, W, 3) uint8 of an 8-bit PNG that is neither interlaced nor turned.

    Args:
        file: its path.
        content: of the file, where it is not read from disk.

    Returns:
        None for everything else, broken files and more than `MOST_PIXELS` included: there Pillow says what is wrong.
    """
    import kornia_rs.io

    try:
        data = regular_bytes(file) if content is None else content
        chunk, width, height, bits, colour, interlaced = HEADER.unpack_from(data)
    except (OSError, struct.error):
        return None
    if not data.startswith(PNG_START) or chunk != b"IHDR" or bits != 8 or colour not in PNG_MODES or interlaced:
        return None
    if width * height > MOST_PIXELS or _special(data):
        return None
    if width * height > DENSEST * len(data):  # the memory for it would be taken before anything is read
        return None
    try:
        pixels = kornia_rs.io.decode_image_png_u8(data, (height, width), PNG_MODES[colour])
    except Exception:  # the only class that the library raises
        return None
    return pixels[..., 0] if colour == 0 else pixels


def _special(data: bytes) -> bool:
    """Whether a PNG has a chunk that may change how it is shown."""
    place = len(PNG_START)
    while place + CHUNK.size <= len(data):
        length, name = CHUNK.unpack_from(data, place)
        if name in SPECIAL or (name in TEXTS and data.startswith(TURNING, place + CHUNK.size)):
            return True
        place += CHUNK.size + length + 4  # a checksum follows
    return False


def read_plain_jpeg(file: str | Path, content: bytes | None = None) -> np.ndarray | None:
    """Grey values (H, W) or colours (H, W, 3) uint8 of an upright JPEG, baseline or progressive.

    Pillow reads the header and libjpeg-turbo, by way of kornia-rs, the pixels; Pillow has that library too, and copies
    more. Pixels are equal to Pillow's where both are built with the same version of it.

    Args:
        file: its path.
        content: of the file, where it is not read from disk.

    Returns:
        None for everything else (CMYK, turned by its EXIF, several pictures in a file), broken files included: there
        Pillow says what is wrong.
    """
    import kornia_rs.io

    try:
        data = regular_bytes(file) if content is None else content
        if not data.startswith(JPEG_START):
            return None
        with Image.open(io.BytesIO(data)) as header:
            mode = JPEG_MODES.get(header.mode)
            turned = header.getexif().get(ExifTags.Base.Orientation, 1) != 1
            if header.format != "JPEG" or mode is None or turned:
                return None
        pixels = kornia_rs.io.decode_image_jpegturbo(data, mode)
    except Exception:  # the only class that kornia-rs raises; Pillow has many
        return None
    return pixels[..., 0] if mode == "mono" else pixels
