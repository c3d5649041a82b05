import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from minorkey.data.images import read_image
from minorkey.data.label_images import read_ids
from minorkey.data.plain_images import read_plain_png
from minorkey.errors import DataError

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (37, 53, 3), dtype=np.uint8)


def png(image: Image.Image, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def with_filter(pixels: np.ndarray, kind: int) -> bytes:
    """A PNG whose rows all use one filter; bytes that decode to something, whatever it is."""
    height, width = pixels.shape[:2]
    rows = b"".join(bytes([kind]) + row.tobytes() for row in pixels)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("pixels", [COLOURS, COLOURS[..., 0]], ids=["colour", "grey"])
def test_every_filter_decodes_as_pillow_decodes_it(pixels, kind):
    content = with_filter(pixels, kind)
    decoded = read_plain_png("x.png", content)
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(io.BytesIO(content))))
    decoded[0, 0] = 0  # it may be written to


@pytest.mark.parametrize(
    "content",
    [
        png(Image.fromarray(COLOURS).convert("P")),
        png(Image.fromarray(COLOURS).convert("RGBA")),
        png(Image.fromarray(COLOURS[..., 0].astype(np.uint16))),
        png(Image.fromarray(COLOURS), exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00"),
        png(Image.fromarray(COLOURS), transparency=(0, 0, 0)),
        png(Image.fromarray(COLOURS))[:-200],
        b"\x89PNG",
        b"",
    ],
    ids=["palette", "alpha", "16 bits", "exif", "transparency", "cut short", "a stub", "empty"],
)
def test_everything_else_is_left_to_pillow(content):
    assert read_plain_png("x.png", content) is None


def test_an_upright_image_is_upright_by_its_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    content = png(Image.fromarray(COLOURS), exif=exif)
    np.testing.assert_array_equal(read_image("x.png", content), np.rot90(COLOURS, -1))


def test_ids_and_grey_images():
    content = png(Image.fromarray(COLOURS[..., 0]))
    np.testing.assert_array_equal(read_ids("x.png", content), COLOURS[..., 0])
    np.testing.assert_array_equal(read_image("x.png", content), np.repeat(COLOURS[..., :1], 3, axis=2))
    with pytest.raises(DataError, match="mode RGB, expected one channel of ids"):
        read_ids("x.png", png(Image.fromarray(COLOURS)))


def test_a_broken_file_is_named():
    with pytest.raises(DataError, match="x.png: broken image"):
        read_image("x.png", png(Image.fromarray(COLOURS))[:-200])


@pytest.mark.parametrize("text", ["Raw profile type exif", "XML:com.adobe.xmp"])
def test_an_orientation_in_a_text(text):
    """ImageMagick and editors of photographs write it there."""
    said = PngInfo()
    if text.startswith("XML"):
        said.add_itxt(text, '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>')
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        said.add_text(text, f"\nexif\n{len(exif.tobytes()):8}\n{exif.tobytes().hex()}\n", zip=True)
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "PNG", pnginfo=said)
    np.testing.assert_array_equal(read_image("x.png", stream.getvalue()), np.rot90(COLOURS, -1))
