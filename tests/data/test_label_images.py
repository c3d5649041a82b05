"""Ids of label images are those in the file, whatever its depth, form and name."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minorkey.data.label_images import read_colours, read_ids
from minorkey.errors import DataError

IDS = (np.arange(24 * 30).reshape(24, 30) % 3).astype(np.uint8)
COLOUR_TYPES = {"grey": 0, "palette": 3}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and the steps between columns and rows, of each pass of an interlaced PNG."""


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def packed_rows(values: np.ndarray, bits: int) -> bytes:
    if not values.size:
        return b""
    singles = ((values[..., None] >> np.arange(bits)[::-1]) & 1).reshape(len(values), -1).astype(np.uint8)
    return b"".join(b"\0" + row.tobytes() for row in np.packbits(singles, axis=1))


def png(values: np.ndarray, bits: int, colour: str, *, interlaced: bool = False, transparent: bool = False) -> bytes:
    """A PNG of few bits as other tools write it."""
    height, width = values.shape
    passes = [values[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [values]
    header = struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPES[colour], 0, 0, int(interlaced))
    parts = [chunk(b"IHDR", header)]
    if colour == "palette":
        parts.append(chunk(b"PLTE", bytes(channel & 255 for channel in range(3 << bits))))
    if transparent:
        parts.append(chunk(b"tRNS", b"\0\1" if colour == "grey" else b"\xff\0"))
    parts += [chunk(b"IDAT", zlib.compress(b"".join(packed_rows(part, bits) for part in passes))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("colour", list(COLOUR_TYPES))
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_ids_of_few_bits(bits, colour, interlaced, transparent):
    values = IDS.astype(int) % (1 << bits)
    content = png(values, bits, colour, interlaced=interlaced, transparent=transparent)
    ids = read_ids("x.png", content)
    assert ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, values)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_tiff_of_few_bits(bits, white_is_zero):
    """A strip of one bit depth behind a directory with the tags that a reader needs."""
    values = IDS.astype(int) % (1 << bits)
    strip = b"".join(
        np.packbits(((row[:, None] >> np.arange(bits)[::-1]) & 1).reshape(-1).astype(np.uint8)).tobytes()
        for row in values
    )
    tags = [(256, 30), (257, 24), (258, bits), (259, 1), (262, 0 if white_is_zero else 1), (273, 8), (277, 1)]
    tags += [(278, 24), (279, len(strip))]
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags
    )
    content = b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory + struct.pack("<I", 0)
    np.testing.assert_array_equal(read_ids("x.tif", content), values)


def test_sixteen_bits():
    np.testing.assert_array_equal(
        read_ids("x.png", saved(Image.fromarray(IDS.astype(np.uint16) + 300))), IDS.astype(int) + 300
    )


def test_a_gif_has_the_grey_values_of_its_palette():
    """As the masks of Carvana do; what is written leaves colours out that do not occur, and numbers the others anew."""
    np.testing.assert_array_equal(read_ids("x.gif", saved(Image.fromarray(IDS * 2 + 3), "GIF")), IDS * 2 + 3)
    coloured = Image.fromarray(IDS, "P")
    coloured.putpalette([value for index in range(256) for value in (index, 255 - index, 0)])
    with pytest.raises(DataError, match=r"x\.gif: label image has"):
        read_ids("x.gif", saved(coloured, "GIF"))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_equal_channels(kind):
    grey = Image.fromarray(IDS)
    np.testing.assert_array_equal(read_ids("x", saved(grey.convert("RGB"), kind)), IDS)
    if kind != "BMP":
        np.testing.assert_array_equal(read_ids("x", saved(grey.convert("RGBA"), kind)), IDS)
        np.testing.assert_array_equal(read_ids("x", saved(grey.convert("LA"), kind)), IDS)


def test_transparent_pixels_have_no_clear_id():
    half = np.dstack([IDS, np.full_like(IDS, 128)])
    with pytest.raises(DataError, match=r"x\.png: label image has transparent pixels"):
        read_ids("x.png", saved(Image.fromarray(half, "LA")))


def test_sixteen_bit_channels_are_not_read_as_zeros():
    height, width = IDS.shape
    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, 1).astype(">u2").tobytes() for row in IDS)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    with pytest.raises(DataError, match="channels of 16 bits.*`encoding: low_byte`"):
        read_ids("x.png", b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("read", [read_ids, read_colours])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("WEBP", {}), ("JPEG2000", {}), ("TIFF", {"compression": "jpeg"})],
)
def test_formats_with_loss_under_any_name(tmp_path: Path, read, kind, options):
    content = saved(Image.fromarray(IDS).convert("RGB"), kind, **options)
    (tmp_path / "a.png").write_bytes(content)
    for given in (None, content):
        with pytest.raises(DataError, match=rf"a\.png: label image is {kind}.* by its content, which changes ids"):
            read(tmp_path / "a.png", given)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PPM"])
def test_other_formats_without_loss(kind):
    picture = Image.fromarray(IDS).convert("RGB" if kind == "WEBP" else "L")
    np.testing.assert_array_equal(
        read_ids("x", saved(picture, kind, **({"lossless": True} if kind == "WEBP" else {}))), IDS
    )


def test_a_largest_value_of_its_own():
    with pytest.raises(DataError, match="its ids are scaled; save it as PNG"):
        read_ids("x.pgm", b"P5 2 1 3\n\0\2")


def test_labels_are_turned_as_images_are():
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read_ids("x", saved(Image.fromarray(IDS), kind, exif=exif)), np.rot90(IDS, -1))
