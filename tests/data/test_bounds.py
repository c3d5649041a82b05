"""What is read of files is bounded before memory is taken, and nothing is waited for."""

import os
import struct
import zipfile
import zlib

import numpy as np
import pytest

from minorkey.data.images import read_image
from minorkey.data.label_images import read_ids
from minorkey.data.readers.boxes.objects import Objects
from minorkey.data.readers.boxes.places import BoxPlaces
from minorkey.data.readers.files import Files
from minorkey.errors import DataError
from minorkey.system.bounds import MOST_BOXES


def _png(width, height):
    """The head of a grey PNG that says it is so large, and next to no pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("read", [read_image, read_ids])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "bomb"])
def test_what_is_no_image(kind, read, tmp_path):
    file = tmp_path / "a.png"
    {
        "pipe": lambda: os.mkfifo(file),
        "device": lambda: file.symlink_to("/dev/zero"),
        "folder": file.mkdir,
        "bomb": lambda: file.write_bytes(_png(100_000, 100_000)),
    }[kind]()
    with pytest.raises(DataError, match=r"a\.png: broken image"):
        read(file)


def test_a_pipe_among_the_files_of_a_data_set(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"a\.json cannot be read: it is no regular file"):
        Files(tmp_path).read("a.json")


@pytest.mark.parametrize(
    ("declared", "message"), [(10, "has not the size that is declared"), (2**32 - 2, "at most 1073741824 are read")]
)
def test_a_member_that_unpacks_to_more_than_it_should(declared, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1_000_000))
    content = bytearray((tmp_path / "x.zip").read_bytes())
    place = content.rindex(b"PK\1\2") + 24  # of the size in the central directory
    content[place : place + 4] = struct.pack("<I", declared)
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match=message):
        Files(tmp_path).read("x.zip/a")


def test_more_boxes_than_any_photograph_has():
    count = MOST_BOXES + 1
    numbers, boxes = np.arange(count), np.zeros((count, 4))
    objects = Objects("a.json", "annotation", numbers, ["car"] * count, boxes, np.zeros(count, bool))
    with pytest.raises(DataError, match=r"a\.json: 50001 boxes in one image, at most 50000 are read"):
        BoxPlaces({}, drop_empty=False, titles=()).placed(objects, 10, 10)
