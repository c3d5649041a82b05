"""Predict a raster of any size, a GeoTIFF, part by part: neither it nor what is predicted ever lies in memory whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from minorkey.data.pixels import picture
from minorkey.data.rasters import Box, georeferenced, opened_raster, read_part, small_part
from minorkey.errors import DataError
from minorkey.labels import IGNORE_INDEX, colourise
from minorkey.system.storage import write_atomically
from minorkey.tasks.prediction import save_jpeg
from minorkey.tasks.predictor import Predictor

SIDE = 1024
"""Pixels of a part. Beside the network's own memory, a part with its margin takes 5 bytes a value: 20 MB of RGB."""

LEAST_MARGIN = 64
"""Pixels around a part that are looked at too, where training crops do not say how far a network looks."""

DRAWN = 2048
"""Pixels of the longer side of an overlay."""


def raster_names(predictor: Predictor, files: dict[str, Path]) -> frozenset[str]:
    """The names of the files that are predicted part by part: rasters with a place on earth, by tasks of pixels."""
    if not predictor.prediction_type.of_pixels:
        return frozenset()
    return frozenset(name for name, file in files.items() if georeferenced(file))


def predict_raster(predictor: Predictor, file: Path, saved: Path, drawn: Path | None) -> None:
    """Write the class of every pixel as a GeoTIFF in the place of the raster, with its colours, and a small overlay.

    Every part is predicted with a margin of half a training crop, which is then left out: seams lie where nothing is
    seen of them. Where the raster has no data (its nodata value, mask or alpha), classes are 255, its nodata too.

    Args:
        predictor: of a task of pixels.
        file: the raster.
        saved: the GeoTIFF to write.
        drawn: the overlay to write, a JPEG of at most `DRAWN` pixels a side; None: none.

    Raises:
        DataError: the raster is broken, its values are not stated, or the protocol is one of whole images.
        StorageError: a file cannot be written.
    """
    protocol = predictor.protocol
    if protocol.resize is not None or protocol.input_size is not None:
        raise DataError(
            f"{file} is predicted part by part, and evaluation.resize is of whole images; predict with a run without it"
        )
    margin = max(LEAST_MARGIN, max(predictor.crop or (0, 0)) // 2)
    with opened_raster(file) as raster:
        write_atomically(saved, lambda temporary: _write(predictor, raster, file, temporary, margin))
        if drawn is not None:
            save_jpeg(_overlay(predictor, raster, file, saved), drawn)


def parts(height: int, width: int, margin: int) -> Iterator[tuple[Box, Box]]:
    """Boxes (y0, x0, y1, x1) that cover a raster without overlap, each with the larger one that is looked at."""
    for y in range(0, height, SIDE):
        for x in range(0, width, SIDE):
            core = y, x, min(y + SIDE, height), min(x + SIDE, width)
            yield (
                core,
                (max(0, y - margin), max(0, x - margin), min(core[2] + margin, height), min(core[3] + margin, width)),
            )


def _write(predictor: Predictor, raster: Any, file: Path, temporary: Path, margin: int) -> None:
    import rasterio

    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": 1, "height": raster.height, "width": raster.width,
        "crs": raster.crs, "transform": raster.transform, "nodata": IGNORE_INDEX, "compress": "deflate",
        "tiled": True, "blockxsize": 256, "blockysize": 256, "bigtiff": "if_safer",
    }  # fmt: skip
    with rasterio.open(temporary, "w", **profile) as out:
        if raster.gcps[0]:
            out.gcps = raster.gcps
        colours = colourise(np.arange(len(predictor.space), dtype=np.uint8)[None], predictor.space)[0]
        out.write_colormap(1, {place: (*colour, 255) for place, colour in enumerate(colours.tolist())})
        out.update_tags(**{f"class_{place}": name for place, name in enumerate(predictor.space.classes)})
        for core, looked_at in parts(raster.height, raster.width, margin):
            labels = _labels(predictor, raster, file, looked_at)
            top, left = core[0] - looked_at[0], core[1] - looked_at[1]
            inner = labels[top : top + core[2] - core[0], left : left + core[3] - core[1]]
            out.write(inner, 1, window=((core[0], core[2]), (core[1], core[3])))


def _labels(predictor: Predictor, raster: Any, file: Path, box: Box) -> np.ndarray:
    image, there = read_part(raster, box, predictor.pixels, file)
    if not there.any():
        return np.full(there.shape, IGNORE_INDEX, np.uint8)
    return np.where(there, predictor.predict_one(image).labels, np.uint8(IGNORE_INDEX))


def _overlay(predictor: Predictor, raster: Any, file: Path, saved: Path) -> Image.Image:
    image, _ = small_part(raster, DRAWN, predictor.pixels, file)
    with opened_raster(saved) as out:
        labels = out.read(1, out_shape=image.shape[:2])
    shown = picture(image, predictor.pixels.places)
    return predictor.prediction_type(labels, shown, predictor.space).draw()  # type: ignore[call-arg]
