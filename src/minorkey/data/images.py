"""Images on disk: listed, read and checked; an error is one line that names the file."""

import glob
import io
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from minorkey.data.listing import files_below, loops
from minorkey.data.plain_images import read_plain_jpeg, read_plain_png
from minorkey.errors import DataError
from minorkey.system.regular import regular_bytes

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"})
IMAGE_SUFFIXES = PICTURES | {".dcm"}

UNREAD = frozenset({".heic", ".heif", ".avif", ".jp2", ".dng", ".nef", ".cr2", ".cr3", ".arw"})
"""Of pictures that telephones and cameras make, and nothing here reads."""

DARK = 1 << 12
"""16-bit values that all lie below it are those of a camera of at most 12 bits: of 8 bits, at most 15 would be left."""


def list_images(where: str | Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The images at a path: a file, all images below a folder, or those that match a glob, sorted.

    Hidden files below a folder are passed over, and links that lead round in a circle.

    Raises:
        DataError: there are none.
    """
    images = list_files(where, suffixes)
    if not images:
        reason = "holds no images" if Path(where).is_dir() else "names no file, folder or glob that matches images"
        raise DataError(f"{where} {reason}; expected one of {', '.join(sorted(suffixes))}")
    return images


def unread(where: str | Path) -> tuple[str, ...]:
    """A line where pictures lie at a path that are not read, for a user who may miss them; none otherwise."""
    files = [] if Path(where).is_file() else list_files(where, UNREAD)
    if not files:
        return ()
    pictures = "1 picture" if len(files) == 1 else f"{len(files)} pictures"
    return (f"{pictures} passed over, as {files[0].name}: save as PNG or JPEG what is to be read",)


def list_files(where: str | Path, suffixes: Collection[str]) -> list[Path]:
    """The files at a path that end in one of these suffixes, as `list_images`; a file itself, whatever it ends in."""
    path = Path(where)
    if path.is_file():
        return [path]
    found = map(path.joinpath, files_below(path)) if path.is_dir() else _matching(str(where))
    return sorted(file for file in found if file.suffix.lower() in suffixes and file.is_file())


def _matching(pattern: str) -> Iterator[Path]:
    """What matches a glob, but for what is reached in a circle only."""
    circles: dict[Path, bool] = {}
    for file in map(Path, glob.glob(pattern, recursive=True)):
        for folder in file.parents:
            if folder not in circles:
                circles[folder] = folder.is_symlink() and loops(folder)
        if not any(circles[folder] for folder in file.parents):
            yield file


def read_image(file: str | Path, content: bytes | None = None) -> np.ndarray:
    """An image as (H, W, 3) uint8 RGB, upright by its EXIF orientation; see `rgb_pixels`.

    Args:
        file: its path, or the name of `content` in errors.
        content: of the file, where it is not read from disk, e.g. because it lies in an archive.

    Raises:
        DataError: the file is missing, unreadable, truncated, has floating point pixels, or 16 bits of which the upper
            ones are not used.
    """
    plain = read_plain_png(file, content)
    if plain is None:
        plain = read_plain_jpeg(file, content)
    if plain is not None:
        return three_channels(plain)
    with opened_image(file, content) as image:
        deep = "16" in raw_mode(image)
        pixels = rgb_pixels(image, file)
    if deep and not pixels.any() and (low := low_bytes(file, content)) is not None:
        _refuse_dark(int(low.max()), file)
    return pixels


def rgb_pixels(image: Image.Image, file: str | Path) -> np.ndarray:
    """An image of Pillow's, which may be open still, as (H, W, 3) uint8 RGB, upright by its EXIF orientation.

    Greyscale is repeated over the channels, alpha is dropped, 16 bits are cut to the upper 8. Of several frames it is
    the present one, the first of a file.

    Args:
        image: of any mode.
        file: its name in errors.

    Raises:
        DataError: as `read_image`.
    """
    deep = "16" in raw_mode(image)
    with readable(file):
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "F":
            raise DataError(f"{file}: image has floating point pixels; convert it to 8 or 16 bits")
        if upright.mode.startswith("I"):
            return _from_16_bits(np.asarray(upright), file)
        pixels = np.array(upright.convert("RGB"))
    if deep and pixels.max() < DARK >> 8:
        _refuse_dark(int(pixels.max()) << 8, file)
    return pixels


def _from_16_bits(values: np.ndarray, file: str | Path) -> np.ndarray:
    """Grey values (H, W) of more than 8 bits as (H, W, 3) uint8."""
    least, most = int(values.min()), int(values.max())
    if least < 0 or most > 65535:
        raise DataError(f"{file}: image has values from {least} to {most}, expected 0 to 65535; convert it to 16 bits")
    _refuse_dark(most, file)
    return three_channels((values >> 8).astype(np.uint8))


def three_channels(pixels: np.ndarray) -> np.ndarray:
    """Grey values (H, W) or colours (H, W, 3) as (H, W, 3)."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def _refuse_dark(most: int, file: str | Path) -> None:
    """Raise where 16 bits hold fewer, of which the upper 8 would be next to nothing."""
    if 0 < most < DARK:
        raise DataError(
            f"{file}: image has 16 bits, but no value above {most} of 65535, and would come out nearly black; state "
            "its `range` in dataset.yaml or as pixels.range (of 12 bits: [0, 4095]), spread its values over the 16, or "
            "save it with 8"
        )


def low_bytes(file: str | Path, content: bytes | None) -> np.ndarray | None:
    """The lower halves of the channels of a PNG with 16-bit colours, (H, W, C) uint8; None of another file."""
    with opened_image(file, content) as image:
        mode = raw_mode(image)
        if mode not in ("RGB;16B", "RGBA;16B"):
            return None
        # The same bytes taken as little-endian: Pillow keeps the second byte of each, which is the low one here.
        image.tile = [(*image.tile[0][:3], mode.replace("16B", "16L"))]  # type: ignore[list-item]
        return np.array(image)


def raw_mode(image: Image.Image) -> str:
    """How an image that is not loaded yet lies in its file, in Pillow's words, e.g. `L;4`; "" of one that is."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def is_grey(file: str | Path, content: bytes) -> bool:
    """Whether a picture has one channel, by its header; no other file is one.

    Raises:
        DataError: it is a broken picture.
    """
    if Path(file).suffix.lower() not in PICTURES:
        return False
    with opened_image(file, content) as image:
        return image.mode in ("1", "L", "F") or image.mode.startswith("I")


def mean_luma(file: str | Path, content: bytes | None = None) -> float:
    """The mean over an image of its luma of ITU-R 601, 0.299 R + 0.587 G + 0.114 B, from 0 to 255.

    Args:
        file: its path, or the name of `content` in errors.
        content: of the file, where it is not read from disk.

    Raises:
        DataError: the file is missing, unreadable, truncated or has floating point pixels.
    """
    with opened_image(file, content) as image:
        # JPEG stores this luma beside the colours, which then need not be decoded.
        image.draft("L", image.size)
        if image.mode == "L":
            return float(np.asarray(image).mean())
    return float(np.asarray(Image.fromarray(read_image(file, content)).convert("L")).mean())


@contextmanager
def opened_image(file: str | Path, content: bytes | None) -> Iterator[ImageFile.ImageFile]:
    """An open image; whatever Pillow raises on broken files becomes a `DataError`."""
    with readable(file), Image.open(io.BytesIO(regular_bytes(file) if content is None else content)) as image:
        yield image


@contextmanager
def readable(file: str | Path) -> Iterator[None]:
    """In the block Pillow reads a file; what it raises becomes a `DataError` that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing; expected an image file") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        reason = "is not an image that can be read" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise DataError(f"{file}: broken image ({reason}); replace or remove the file") from error
