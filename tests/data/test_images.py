import numpy as np
import pytest
from PIL import Image

from minorkey.data.images import list_images, read_image
from minorkey.data.label_images import read_ids
from minorkey.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_rgb_and_alpha(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([RGB, np.full((6, 9), 7, np.uint8)])).save(tmp_path / "b.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), RGB)
    assert np.array_equal(read_image(tmp_path / "b.png"), RGB)


def test_grey_8_and_16_bits(tmp_path):
    Image.fromarray(RGB[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(RGB[..., 0].astype(np.uint16) * 256 + 77).save(tmp_path / "deep.png")
    expected = np.repeat(RGB[..., :1], 3, axis=2)
    assert np.array_equal(read_image(tmp_path / "grey.png"), expected)
    assert np.array_equal(read_image(tmp_path / "deep.png"), expected)


def test_exif_orientation_is_respected(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(RGB, -1))


def test_label_modes(tmp_path):
    ids = np.array([[0, 1], [1, 200]], np.uint8)
    palette = Image.fromarray(ids, mode="P")
    palette.putpalette([channel for level in range(256) for channel in (255 - level, level, 9)])
    palette.save(tmp_path / "p.png")
    Image.fromarray(ids).save(tmp_path / "l.png")
    Image.fromarray(ids.astype(np.uint16) + 300).save(tmp_path / "i16.png")
    Image.fromarray(ids == 1).save(tmp_path / "bit.png")
    assert np.array_equal(read_ids(tmp_path / "p.png"), ids)
    assert np.array_equal(read_ids(tmp_path / "l.png"), ids)
    assert np.array_equal(read_ids(tmp_path / "i16.png"), ids.astype(int) + 300)
    assert np.array_equal(read_ids(tmp_path / "bit.png"), ids == 1)


def test_colour_label_is_refused(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: label image has mode RGB, expected one channel of ids .*`colours`"):
        read_ids(tmp_path / "a.png")


@pytest.mark.parametrize(("suffix", "read"), [("png", read_image), ("png", read_ids), ("jpg", read_image)])
def test_truncated_file(tmp_path, suffix, read):
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match=rf"a\.{suffix}: broken image \(.*truncated.*\); replace") as caught:
        read(file)
    assert "\n" not in str(caught.value)


def test_not_an_image(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(DataError, match=r"a\.png: broken image \(is not an image that can be read\)"):
        read_image(tmp_path / "a.png")


def test_missing_and_floating_point(tmp_path):
    with pytest.raises(DataError, match=r"none\.png is missing"):
        read_image(tmp_path / "none.png")
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match="floating point pixels; convert"):
        read_image(tmp_path / "f.tif")


def test_list_images(tmp_path):
    (tmp_path / "deep").mkdir()
    files = [tmp_path / "a.JPG", tmp_path / "b.png", tmp_path / "deep" / "c.webp"]
    for file in [*files, tmp_path / "notes.txt"]:
        file.touch()
    assert list_images(tmp_path) == files
    assert list_images(str(tmp_path / "*.*")) == files[:2]
    assert list_images(tmp_path / "b.png") == [tmp_path / "b.png"]


def test_list_images_of_nothing(tmp_path):
    with pytest.raises(DataError, match=r"holds no images; expected one of \.bmp, \.jpeg"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="names no file, folder or glob"):
        list_images(tmp_path / "none" / "*.png")
