"""GeoTIFF and every other TIFF, by rasterio, where it is installed: `pip install 'minorkey[geo]'`."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from minorkey.data.pixels import PixelOptions
from minorkey.errors import ConfigError, DataError
from minorkey.system.bounds import MOST_PIXELS
from minorkey.system.reading import words

SUFFIXES = (".tif", ".tiff")

DRIVER = "GTiff"
"""The only format that is let through: others of GDAL's name further files, and may fetch them."""


def rasterio_module(file: object) -> Any:
    """The package rasterio.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import rasterio
    except ImportError as error:
        raise ConfigError(f"{file} needs rasterio to be read: pip install 'minorkey[geo]'") from error
    # A TIFF without a place on earth is an image like any other.
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
    return rasterio


Box = tuple[int, int, int, int]
"""y0, x0, y1, x1 in pixels, y1 and x1 exclusive."""


@contextmanager
def opened_raster(path: Path) -> Iterator[Any]:
    """An open TIFF, of which parts are read at a time, whatever its size; files beside it are not looked at.

    Raises:
        DataError: it is broken.
        ConfigError: rasterio is not installed.
    """
    rasterio = rasterio_module(path)
    try:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(path, driver=DRIVER) as raster:
            yield raster
    except rasterio.errors.RasterioError as error:
        raise DataError(f"{path}: broken image ({words(error)}); replace or remove the file") from error


def georeferenced(path: Path) -> bool:
    """Whether a file is a TIFF that has a place on earth; without rasterio none is known to be."""
    if path.suffix.lower() not in SUFFIXES or find_spec("rasterio") is None:
        return False
    try:
        with opened_raster(path) as raster:
            return raster.crs is not None or bool(raster.gcps[0]) or not raster.transform.is_identity
    except DataError:  # whoever reads it says what is wrong
        return False


def read_part(raster: Any, box: Box, pixels: PixelOptions, file: object) -> tuple[np.ndarray, np.ndarray]:
    """A part of an open raster as an image, and where it has data.

    Returns:
        `(h, w, C)` as `PixelOptions.image` has it, black where there is no data; `(h, w)` bool.

    Raises:
        DataError: it has other channels, or values that no range is stated for.
    """
    window = ((box[0], box[2]), (box[1], box[3]))
    return _image(raster, pixels, file, {"window": window})


def small_part(raster: Any, longest: int, pixels: PixelOptions, file: object) -> tuple[np.ndarray, np.ndarray]:
    """The whole raster, some pixels of it: no side is longer than `longest`; as `read_part`."""
    scale = min(1.0, longest / max(raster.height, raster.width))
    size = max(1, round(raster.height * scale)), max(1, round(raster.width * scale))
    return _image(raster, pixels, file, {}, size)


def _image(
    raster: Any, pixels: PixelOptions, file: object, where: dict[str, Any], size: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    alpha = [band for band, colour in enumerate(raster.colorinterp, 1) if colour.name == "alpha"]
    bands = [band for band in raster.indexes if band not in alpha or len(pixels.names) == raster.count]
    shape = {} if size is None else {"out_shape": (len(bands), *size)}
    values = np.ascontiguousarray(raster.read(bands, **where, **shape).transpose(1, 2, 0))
    there = raster.dataset_mask(**where, **({} if size is None else {"out_shape": size})) != 0
    values[~there] = 0 if pixels.range is None else np.array([low for low, _ in pixels.range]).astype(values.dtype)
    return pixels.image(values, file), there


def read_raster(content: bytes, file: object) -> np.ndarray:
    """The values of all bands of a TIFF, `(H, W, C)`; `file` is named in errors.

    Raises:
        DataError: it is broken.
        ConfigError: rasterio is not installed.
    """
    rasterio = rasterio_module(file)
    try:
        with rasterio.MemoryFile(content) as held, held.open(driver=DRIVER) as raster:
            if raster.height * raster.width * raster.count > MOST_PIXELS:
                raise DataError(f"{file} has {raster.height}x{raster.width}x{raster.count} values; cut it into tiles")
            return np.ascontiguousarray(raster.read().transpose(1, 2, 0))
    except (rasterio.errors.RasterioError, ValueError, MemoryError) as error:
        raise DataError(f"{file}: broken image ({words(error)}); replace or remove the file") from error
