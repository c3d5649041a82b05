"""Rasters with a place on earth: predicted part by part, and written to the same place."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from minorkey.errors import DataError
from minorkey.runs import rasters
from minorkey.runs.load import load
from minorkey.runs.predict import predict_folder
from minorkey.runs.train import train

rasterio = pytest.importorskip("rasterio")

PLACE = rasterio.transform.from_origin(500000, 5600000, 10, 10)


def written(file, values, **profile):
    """A GeoTIFF in UTM zone 32."""
    height, width, count = values.shape
    place = {"crs": "EPSG:32632", "transform": PLACE, "tiled": True, "blockxsize": 64, "blockysize": 64}
    size = {"height": height, "width": width, "count": count, "dtype": values.dtype}
    with rasterio.open(file, "w", driver="GTiff", **size, **{**place, **profile}) as raster:
        raster.write(values.transpose(2, 0, 1))
    return file


@pytest.fixture(scope="module")
def run(make_config, tmp_path_factory):
    """A finished run whose windows are as large as its head needs them."""
    folder = tmp_path_factory.mktemp("run") / "soma"
    train(make_config(transform={"crop": [64, 64]}, training={"steps": 1}), folder, console=Console(file=io.StringIO()))
    return folder


@pytest.fixture
def scene():
    """Smooth enough for classes to come in patches."""
    small = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((300, 200)))


def test_tags_are_kept_and_parts_fit_together(run, scene, tmp_path, console, monkeypatch):
    (tmp_path / "in").mkdir()
    written(tmp_path / "in" / "a.tif", scene)
    Image.fromarray(scene).save(tmp_path / "in" / "b.png")
    monkeypatch.setattr(rasters, "SIDE", 128)
    done = predict_folder(run, str(tmp_path / "in"), tmp_path / "out", console=console)
    assert (done.written, done.problems) == (2, [])
    predictor = load(run, device="cpu")
    with rasterio.open(tmp_path / "out" / "ids" / "a.tif") as raster:
        assert (raster.crs.to_epsg(), raster.transform, raster.nodata) == (32632, PLACE, 255)
        assert raster.tags()["class_0"] == predictor.space.classes[0]
        assert raster.colormap(1)[0][:3] == tuple(predictor.space.colours[0])
        labels = raster.read(1)
    for core, looked_at in rasters.parts(200, 300, 64):
        alone = predictor.predict_one(scene[looked_at[0] : looked_at[2], looked_at[1] : looked_at[3]]).labels
        inner = alone[core[0] - looked_at[0] :, core[1] - looked_at[1] :][: core[2] - core[0], : core[3] - core[1]]
        np.testing.assert_array_equal(labels[core[0] : core[2], core[1] : core[3]], inner)
    assert Image.open(tmp_path / "out" / "overlays" / "a.jpg").size == (300, 200)
    again = predict_folder(run, str(tmp_path / "in"), tmp_path / "out", console=console)
    assert (again.written, again.skipped) == (0, 2)


def test_parts_cover_a_raster_once():
    seen = np.zeros((2500, 1100), int)
    for (y0, x0, y1, x1), (top, left, bottom, right) in rasters.parts(*seen.shape, margin=64):
        seen[y0:y1, x0:x1] += 1
        assert 0 <= top <= y0 < y1 <= bottom <= 2500
        assert 0 <= left <= x0 < x1 <= right <= 1100
    assert (seen == 1).all()


def test_what_has_no_data_has_no_class(run, scene, tmp_path):
    values = np.where(np.arange(300)[None, :, None] < 100, 0, np.maximum(scene, 1)).astype(np.uint8)
    file = written(tmp_path / "a.tif", values, nodata=0)
    rasters.predict_raster(load(run, device="cpu"), file, tmp_path / "out.tif", None)
    with rasterio.open(tmp_path / "out.tif") as raster:
        labels = raster.read(1)
    assert (labels[:, :100] == 255).all()
    assert (labels[:, 100:] < 255).all()


def test_neither_image_nor_classes_lie_in_memory(run, tmp_path, monkeypatch):
    """The most that is held depends on the part, not on the raster."""
    monkeypatch.setattr(rasters, "SIDE", 128)
    monkeypatch.setattr(rasters, "DRAWN", 64)
    predictor, peaks = load(run, device="cpu"), []
    for side in (384, 768):
        values = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        file = written(tmp_path / f"{side}.tif", values)
        tracemalloc.start()
        rasters.predict_raster(predictor, file, tmp_path / "out.tif", tmp_path / "out.jpg")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000  # the larger one has 1 300 000 bytes more, and its classes 440 000


def test_what_is_refused(run, scene, tmp_path, console):
    deep = written(tmp_path / "deep.tif", scene.astype(np.uint16))
    done = predict_folder(run, str(deep), tmp_path / "out", console=console)
    assert "deep.tif: image has values from 0 to" in done.problems[0]
    predictor = load(run, device="cpu")
    predictor.protocol = predictor.protocol.model_copy(update={"resize": 64})
    with pytest.raises(DataError, match=r"is predicted part by part, and evaluation\.resize is of whole images"):
        rasters.predict_raster(predictor, written(tmp_path / "a.tif", scene), tmp_path / "out.tif", None)
    assert not (tmp_path / "out.tif").exists()
