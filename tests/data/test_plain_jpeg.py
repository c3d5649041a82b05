import io

import numpy as np
import pytest
from PIL import Image

from minorkey.data.images import read_image
from minorkey.data.plain_images import read_plain_jpeg
from minorkey.errors import DataError

ROWS, COLUMNS = np.mgrid[:61, :83]
NOISE = np.random.default_rng(0).normal(0, 20, (61, 83, 3))
COLOURS = (np.stack([COLUMNS * 3, ROWS * 4, ROWS + COLUMNS], axis=-1) + NOISE).clip(0, 255).astype(np.uint8)


def jpeg(image: Image.Image, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, options.pop("format", "JPEG"), **options)
    return stream.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def by_pillow(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [40, 95])
def test_the_pixels_are_those_of_pillow(subsampling, progressive, quality):
    content = jpeg(Image.fromarray(COLOURS), subsampling=subsampling, progressive=progressive, quality=quality)
    decoded = read_plain_jpeg("x.jpg", content)
    # Equal where both have libjpeg-turbo of one version; another may round its upsampling otherwise.
    assert np.abs(decoded.astype(int) - by_pillow(content)).max() <= 2
    decoded[0, 0] = 0  # it may be written to


def test_grey_upright_and_without_the_usual_colour_space():
    grey = jpeg(Image.fromarray(COLOURS[..., 0]))
    assert read_plain_jpeg("x.jpg", grey).shape == (61, 83)
    np.testing.assert_array_equal(read_image("x.jpg", grey), np.repeat(by_pillow(grey)[..., None], 3, axis=2))
    for content in (
        jpeg(Image.fromarray(COLOURS), exif=turned(1)),
        jpeg(Image.fromarray(COLOURS), keep_rgb=True),
        jpeg(Image.fromarray(COLOURS), restart_marker_rows=1, icc_profile=bytes(70_000)),
    ):
        assert np.abs(read_plain_jpeg("x.jpg", content).astype(int) - by_pillow(content)).max() <= 2


@pytest.mark.parametrize(
    "content",
    [
        jpeg(Image.fromarray(COLOURS).convert("CMYK")),
        jpeg(Image.fromarray(COLOURS), exif=turned(6)),
        jpeg(Image.fromarray(COLOURS), format="MPO", save_all=True, append_images=[Image.fromarray(COLOURS)]),
        jpeg(Image.fromarray(COLOURS), format="PNG"),
        b"\xff\xd8\xff",
        b"",
    ],
    ids=["cmyk", "turned", "two pictures", "no jpeg", "a stub", "empty"],
)
def test_everything_else_is_left_to_pillow(content):
    assert read_plain_jpeg("x.jpg", content) is None


def test_a_turned_image_is_upright():
    content = jpeg(Image.fromarray(COLOURS), exif=turned(6))
    np.testing.assert_array_equal(read_image("x.jpg", content), np.rot90(by_pillow(content), -1))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_file_cut_short_is_broken_wherever_it_is_cut(progressive):
    content = jpeg(Image.fromarray(COLOURS), progressive=progressive)
    for length in (*range(30, len(content) - 100, 97), len(content) - 100):
        with pytest.raises(DataError, match=r"x\.jpg: broken image"):
            read_image("x.jpg", content[:length])


def test_what_is_damaged_inside_reads_as_pillow_reads_it():
    """Where Pillow warns and goes on, the other decoder stops, and Pillow's pixels are taken."""
    content, rng, read = jpeg(Image.fromarray(COLOURS)), np.random.default_rng(0), 0
    start = content.index(b"\xff\xda") + 14
    for place in rng.integers(start, len(content) - 2, 40):
        broken = bytearray(content)
        broken[place] ^= int(rng.integers(1, 256))
        try:
            expected = by_pillow(bytes(broken))
        except OSError:
            continue
        np.testing.assert_array_equal(read_image("x.jpg", bytes(broken)), expected)
        read += 1
    assert read > 10
