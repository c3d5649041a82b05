"""Pictures on the page: read from a run folder, made small, written into the page itself."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minorkey.errors import DataError
from minorkey.labels import LabelSpace, colourise

MAX_WIDTH = 480
Pixels = NDArray[np.uint8]


def read_picture(path: Path, mode: str) -> Pixels:
    """The pixels of a picture, `(H, W)` for mode "L", `(H, W, 3)` for "RGB".

    Raises:
        DataError: It cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert(mode))
    except OSError as error:
        raise DataError(
            f"cannot read picture {path}: {error}; delete its folder to leave it out, or run `minorkey evaluate` again"
        ) from error


def photo(pixels: Pixels, width: int = MAX_WIDTH) -> str:
    """A photograph `(H, W, 3)` as a data URI, at most `width` pixels wide."""
    return _data_uri(Image.fromarray(pixels), width, "JPEG", Image.Resampling.LANCZOS, quality=88)


def label_map(labels: Pixels, space: LabelSpace, width: int = MAX_WIDTH) -> str:
    """Train ids `(H, W)` in the colours of their classes as a data URI, at most `width` pixels wide."""
    picture = Image.fromarray(labels)
    picture.putpalette(colourise(np.arange(256, dtype=np.uint8), space).tobytes())
    return _data_uri(picture, width, "PNG", Image.Resampling.NEAREST, optimize=True)


def resized(pixels: Pixels, limit: int, resampling: Image.Resampling) -> Pixels:
    """Pixels `(H, W)` or `(H, W, 3)`, no wider than `limit`."""
    height, width = pixels.shape[:2]
    size = (min(width, limit), max(1, round(height * min(width, limit) / width)))
    return np.asarray(Image.fromarray(pixels).resize(size, resampling))


def _data_uri(picture: Image.Image, width: int, kind: str, resampling: Image.Resampling, **options: int) -> str:
    if picture.width > width:
        picture = picture.resize((width, max(1, round(picture.height * width / picture.width))), resampling)
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
