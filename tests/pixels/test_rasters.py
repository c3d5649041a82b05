"""TIFF of many channels, by rasterio."""

import sys

import numpy as np
import pytest
from PIL import Image

from minorkey.data.deep_images import read_pixels, read_values
from minorkey.data.pixels import PixelOptions
from minorkey.errors import ConfigError, DataError

VALUES = np.random.default_rng(0).integers(0, 10000, (40, 50, 5)).astype(np.uint16)
FIVE = PixelOptions(channels=5, range=[0, 10000])


def written(file, values, **profile):
    """A TIFF of these bands."""
    rasterio = pytest.importorskip("rasterio")
    height, width, count = values.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": values.dtype} | profile
    with rasterio.open(file, "w", **profile) as raster:
        raster.write(values.transpose(2, 0, 1))
    return file


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"compress": "lzw", "predictor": 2},
        {"compress": "deflate", "interleave": "band"},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
    ],
)
def test_many_bands(tmp_path, profile):
    file = written(tmp_path / "a.tif", VALUES, **profile)
    np.testing.assert_array_equal(read_values(file), VALUES)
    np.testing.assert_array_equal(read_pixels(file, pixels=FIVE), VALUES / np.float32(10000))
    np.testing.assert_array_equal(read_pixels("in.zip/a.tif", file.read_bytes(), FIVE), VALUES / np.float32(10000))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_every_type_and_number_of_bands(tmp_path, count, dtype):
    values = (np.resize(VALUES, (40, 50, count)) % 251).astype(dtype) - (5 if np.dtype(dtype).kind != "u" else 0)
    file = written(tmp_path / "a.tif", values.astype(dtype))
    found = read_values(file)
    np.testing.assert_array_equal(found.reshape(values.shape), values)


def test_a_broken_tiff(tmp_path):
    file = written(tmp_path / "a.tif", VALUES)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataError, match=r"a\.tif: broken image"):
        read_pixels(file, pixels=FIVE)
    (tmp_path / "b.tif").write_bytes(b"II*\0" + b"<VRTDataset/>" * 9)
    with pytest.raises(DataError, match=r"b\.tif: broken image"):
        read_pixels(tmp_path / "b.tif", pixels=FIVE)


def test_without_rasterio(tmp_path, monkeypatch):
    file = written(tmp_path / "a.tif", VALUES)
    Image.fromarray(VALUES[..., 0]).save(tmp_path / "grey.tif")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ConfigError, match=r"a\.tif needs rasterio to be read: pip install 'minorkey\[geo\]'"):
        read_pixels(file, pixels=FIVE)
    assert read_pixels(tmp_path / "grey.tif", pixels=PixelOptions(range=[0, 10000])).max() <= 1


def test_a_fourth_band_of_bytes_is_kept(tmp_path):
    values = (VALUES[..., :4] % 256).astype(np.uint8)
    for profile in ({"photometric": "RGB"}, {"photometric": "RGB", "alpha": "NO"}, {"photometric": "MINISBLACK"}):
        np.testing.assert_array_equal(read_values(written(tmp_path / "a.tif", values, **profile)), values)
