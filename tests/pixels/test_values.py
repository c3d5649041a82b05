"""From a file to an image: ranges, channels and precision, and what is refused."""

import numpy as np
import pytest
from deep_png import sixteen_bit_colours
from PIL import Image
from pydantic import ValidationError

from minorkey.data.deep_images import read_pixels, read_values
from minorkey.data.given import as_image
from minorkey.data.pixels import PixelOptions, picture
from minorkey.errors import ConfigError, DataError

DEEP = np.random.default_rng(0).integers(0, 4096, (6, 9, 3)).astype(np.uint16)
TWELVE = PixelOptions(range=[0, 4095])


def saved(folder, name, values):
    file = folder / name
    np.save(file, values) if name.endswith(".npy") else Image.fromarray(values).save(file)
    return file


def test_a_stated_range_keeps_every_bit(tmp_path):
    expected = np.repeat(DEEP[..., :1], 3, axis=2) / np.float32(4095)
    for name in ("a.npy", "a.png", "a.tif"):
        image = read_pixels(saved(tmp_path, name, DEEP[..., 0]), pixels=TWELVE)
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, expected)


def test_colours_of_16_bits_keep_their_lower_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(sixteen_bit_colours(DEEP))
    np.testing.assert_array_equal(read_values(tmp_path / "a.png"), DEEP)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png", pixels=TWELVE), DEEP / np.float32(4095))


def test_values_are_clipped_and_channels_have_their_own_range(tmp_path):
    values = np.array([[[-1.0, 300.0], [0.5, 250.0]]], np.float64)
    stated = PixelOptions(channels=["ndvi", "kelvin"], range=[[-1, 1], [200, 280]])
    image = read_pixels(saved(tmp_path, "a.npy", values), pixels=stated)
    np.testing.assert_allclose(image, [[[0, 1], [0.75, 0.625]]])


def test_8_bits_stay_bytes(tmp_path):
    values = (DEEP >> 4).astype(np.uint8)
    for stated in (TWELVE, PixelOptions(channels=3), PixelOptions(range=[0, 255])):
        assert np.array_equal(read_pixels(saved(tmp_path, "a.png", values), pixels=stated), values)
    scaled = read_pixels(saved(tmp_path, "a.png", values), pixels=PixelOptions(range=[0, 51]))
    np.testing.assert_allclose(scaled, np.clip(values / 51, 0, 1), rtol=1e-6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_an_open_image_is_read_as_its_file(tmp_path, mode):
    """Turned upright, too."""
    grey = Image.fromarray((DEEP[..., 0] >> 4).astype(np.uint8))
    image = Image.fromarray(DEEP[..., 0]) if mode == "I;16" else grey.convert("RGB").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(file, exif=exif)
    stated = PixelOptions(range=[0, 255])
    np.testing.assert_array_equal(as_image(Image.open(file), stated), read_pixels(file, pixels=stated))


def test_an_open_image_of_which_half_is_lost_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(sixteen_bit_colours(DEEP))
    with pytest.raises(DataError, match="Pillow keeps 8 of the 16 bits of its colours; give its path"):
        as_image(Image.open(tmp_path / "a.png"), TWELVE)


@pytest.mark.parametrize("turn", range(2, 9))
def test_deep_images_are_turned_upright(tmp_path, turn):
    """As Pillow turns the 8-bit one, and every TIFF while it reads it."""
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray((DEEP[..., 0] >> 4).astype(np.uint8)).save(tmp_path / "flat.png", exif=exif)
    Image.fromarray(DEEP[..., 0] >> 4).save(tmp_path / "deep.png", exif=exif)
    upright = read_pixels(tmp_path / "flat.png")
    np.testing.assert_array_equal(read_values(tmp_path / "deep.png"), upright[..., 0])
    for name, values in {"grey.tif": DEEP[..., 0] >> 4, "rgb.tif": (DEEP >> 4).astype(np.uint8)}.items():
        Image.fromarray(values).save(tmp_path / name, tiffinfo={0x0112: turn})
        found = read_values(tmp_path / name)
        np.testing.assert_array_equal(found if found.ndim == 2 else found[..., 0], upright[..., 0])


@pytest.mark.parametrize(
    ("values", "stated", "message"),
    [
        (DEEP, {"channels": 3}, r"values from \d+ to \d+ of type uint16, and nothing says .* state their `range:"),
        (DEEP, {"channels": 4, "range": [0, 9]}, r"has 3 channels, expected 4 \(red, green, blue, channel 4\)"),
        (np.dstack([DEEP, DEEP]), {"range": [0, 9]}, r"has 6 channels, expected 3 .*say `channels: 6`"),
        (np.full((2, 2), np.nan), {"range": [0, 9]}, "not finite"),
        (np.zeros((2, 2), complex), {"range": [0, 9]}, "expected whole numbers"),
        (np.zeros((0, 2)), {"range": [0, 9]}, r"values \(0, 2, 1\)"),
    ],
)
def test_what_is_refused(tmp_path, values, stated, message):
    with pytest.raises(DataError, match=message) as caught:
        read_pixels(saved(tmp_path, "a.npy", values), pixels=PixelOptions(**stated))
    assert "a.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_arrays(tmp_path):
    file = saved(tmp_path, "a.npy", DEEP)
    whole = file.read_bytes()
    for content in (b"", b"no array", whole[:50], whole[:-2], whole + b"xx", whole.replace(b"(6, 9, 3)", b"(6,99999)")):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npy.* save it anew"):
            read_pixels(file, pixels=TWELVE)
    np.save(file, np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="expected whole numbers"):
        read_pixels(file, pixels=TWELVE)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"range": [5, 5]}, "expected .low, high."),
        ({"range": [[0, 1], [0, 2]]}, "2 pairs for 3 channels"),
        ({"channels": 0}, "0 channels; expected 1 to 512"),
        ({"channels": ["nir", "nir"]}, "each once"),
        ({"channels": 2, "shown": ["red", "green", "nir"]}, "'nir', which is no channel"),
    ],
)
def test_wrong_statements(stated, message):
    with pytest.raises(ValidationError, match=message):
        PixelOptions(**stated)


def test_statements_that_disagree():
    with pytest.raises(ConfigError, match="channels are a, b, but elsewhere in the run grey; all images of a run"):
        PixelOptions(channels=1).completed(PixelOptions(channels=["a", "b"]))
    with pytest.raises(ConfigError, match="range has 3 pairs for 2 channels"):
        PixelOptions(range=[[0, 1]] * 3).completed(PixelOptions(channels=["a", "b"]))
    assert PixelOptions(channels=2).completed(TWELVE) == PixelOptions(channels=2, range=[0, 4095])


def test_pictures():
    image = np.dstack([DEEP, DEEP[..., 0] * 0]) / np.float32(4095)
    assert PixelOptions(channels=["blue", "green", "red", "nir"]).places == (2, 1, 0)
    assert PixelOptions(channels=["a", "b", "c"], shown=["c", "a", "a"]).places == (2, 0, 0)
    assert PixelOptions(channels=2).places == (0, 1, 1)
    np.testing.assert_array_equal(picture(image, (3, 3, 0))[..., 2], np.rint(DEEP[..., 0] / np.float32(4095) * 255))
    assert picture(image[..., :1], (0, 0, 0)).shape == (6, 9, 3)
    flat = (DEEP >> 4).astype(np.uint8)
    assert picture(flat) is flat
