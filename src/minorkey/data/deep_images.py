"""Images whose values are stated (`pixels.PixelOptions`): all bits and all channels of a file, in place of 8-bit RGB.

PNG, JPEG and plain TIFF are read by Pillow, arrays by NumPy; TIFF of more channels or of 16-bit colours by rasterio,
and DICOM by pydicom, which are extras.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from minorkey.data.arrays import read_array
from minorkey.data.dicom import read_dicom
from minorkey.data.frames import orientation_of, upright
from minorkey.data.images import IMAGE_SUFFIXES, PICTURES, low_bytes, opened_image, raw_mode, read_image, readable
from minorkey.data.pixels import DEFAULT, PixelOptions
from minorkey.data.rasters import read_raster
from minorkey.errors import DataError
from minorkey.system.regular import regular_bytes

ARRAY_SUFFIX, DICOM_SUFFIX = ".npy", ".dcm"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SAMPLES, BITS = 277, 258
"""Tags of TIFF: channels of a pixel, and bits of each."""


def image_suffixes(pixels: PixelOptions) -> frozenset[str]:
    """Suffixes of images; arrays may be anything, and are images only where something is said of their values."""
    return IMAGE_SUFFIXES | {ARRAY_SUFFIX} if pixels.stated else IMAGE_SUFFIXES


def read_pixels(file: str | Path, content: bytes | None = None, pixels: PixelOptions = DEFAULT) -> np.ndarray:
    """An image as its data set says that its values are.

    Args:
        file: its path, or the name of `content` in errors.
        content: of the file, where it is not read from disk, e.g. because it lies in an archive.
        pixels: its channels and range; as `read_image` where nothing is said.

    Returns:
        `(H, W, C)`, uint8 or float32 in [0, 1].

    Raises:
        DataError: the file is missing, broken, of other channels, or its values have no stated range.
        ConfigError: it is of a kind that an extra reads, which is not installed.
    """
    suffix = Path(file).suffix.lower()
    if suffix == DICOM_SUFFIX:
        return read_dicom(_content(file, content), file, pixels)
    if suffix != ARRAY_SUFFIX and not pixels.stated:
        return read_image(file, content)
    return pixels.image(read_values(file, content), file)


def read_values(file: str | Path, content: bytes | None = None) -> np.ndarray:
    """The values of an image or array as they lie in its file, `(H, W)` or `(H, W, C)`, upright; alpha is dropped.

    Raises:
        DataError: the file is missing or broken.
        ConfigError: it is a TIFF of several channels or of 16-bit colours, and rasterio is not installed.
    """
    content = _content(file, content)
    if Path(file).suffix.lower() == ARRAY_SUFFIX:
        return read_array(content, file)
    if content.startswith(TIFF_STARTS):
        return _raster(content, file)
    return upright(_picture(content, file), orientation_of(content))


def highest_of_16_bits(file: str | Path, content: bytes) -> int | None:
    """The largest value of a picture of 16-bit whole numbers; None of any other file.

    Raises:
        DataError: the file is broken.
    """
    if Path(file).suffix.lower() not in PICTURES:
        return None
    with opened_image(file, content) as image:
        if "16" not in raw_mode(image):
            return None
    return int(read_values(file, content).max())


def _picture(content: bytes, file: str | Path) -> np.ndarray:
    """The values of a file that Pillow reads, but for their lower halves in colours of 16 bits, which are added."""
    with opened_image(file, content) as image:
        deep = _is_halved(image)
        values = np.asarray(_plain(image))
    if not deep:
        return values
    low = low_bytes(file, content)
    if low is None:
        raise DataError(f"{file}: grey of 16 bits with transparency is not read; save it without")
    return values.astype(np.uint16) << 8 | low[..., :3]


def opened_values(image: Image.Image, name: str) -> np.ndarray:
    """The values of an image of Pillow's, which may be open still, as `read_values` has those of its file.

    Raises:
        DataError: it is broken, or is a file of 16-bit colours, of which Pillow keeps the upper halves.
    """
    if _is_halved(image):
        raise DataError(f"{name}: Pillow keeps 8 of the 16 bits of its colours; give its path in place of the image")
    with readable(name):
        turned = ImageOps.exif_transpose(image)
        any_fourth = image.format == "TIFF" and turned.mode == "RGBA"
        return np.asarray(turned if any_fourth else _plain(turned))


def _is_halved(image: Image.Image) -> bool:
    """Whether the file of an image that is not loaded yet has colours of 16 bits, of which Pillow keeps 8."""
    return "16" in raw_mode(image) and not image.mode.startswith("I")


def _plain(image: Image.Image) -> Image.Image:
    """An image with numbers in place of palettes, and without alpha."""
    if image.mode in ("L", "RGB", "F") or image.mode.startswith("I"):
        return image
    return image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")


def _raster(content: bytes, file: str | Path) -> np.ndarray:
    """The upright values of a TIFF, by Pillow where it keeps all of them, which turns a TIFF itself."""
    try:
        with opened_image(file, content) as image:
            tags = getattr(image, "tag_v2", {})
            samples, bits = tags.get(SAMPLES, 1), tags.get(BITS, (1,))
            # Of four bands Pillow keeps alpha and black; any other fourth one, as a near infrared, it drops.
            whole = samples == 3 or (samples == 4 and image.mode in ("RGBA", "CMYK"))
            if image.mode != "P" and (samples == 1 or (whole and set(bits) == {8})):
                return np.asarray(image if image.mode == "RGBA" else _plain(image))
    except DataError:
        pass  # of a kind that Pillow does not know; rasterio says what is broken
    return upright(read_raster(content, file), orientation_of(content))


def _content(file: str | Path, content: bytes | None) -> bytes:
    if content is not None:
        return content
    try:
        return regular_bytes(file)
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing; expected an image file") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
