"""The common kinds of JPEG, decoded in about 0.7 of Pillow's time to the same pixels (benchmarks/loader.py)."""

import io
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

START = b"\xff\xd8\xff"
MODES = {"L": "mono", "RGB": "rgb"}


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
        data = Path(file).read_bytes() if content is None else content
        if not data.startswith(START):
            return None
        with Image.open(io.BytesIO(data)) as header:
            mode = MODES.get(header.mode)
            turned = header.getexif().get(ExifTags.Base.Orientation, 1) != 1
            if header.format != "JPEG" or mode is None or turned:
                return None
        pixels = kornia_rs.io.decode_image_jpegturbo(data, mode)
    except Exception:  # the only class that kornia-rs raises; Pillow has many
        return None
    return pixels[..., 0] if mode == "mono" else pixels
