import numpy as np
import pytest
from deep_png import sixteen_bit_colours
from PIL import Image

from minorkey.data.given import as_rgb
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
    with pytest.raises(DataError, match=r"holds no images; expected one of \.bmp, \.dcm, \.gif, \.jfif"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="names no file, folder or glob"):
        list_images(tmp_path / "none" / "*.png")


def saved(folder, name, image, **options):
    image.save(folder / name, **options)
    return folder / name


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def kinds_of_image(folder):
    """A file of each kind that Pillow and the quick decoders might see differently."""
    colours = Image.fromarray(RGB)
    grey = colours.convert("L")
    deep = Image.fromarray(RGB[..., 0].astype(np.uint16) * 257)
    for turn in range(1, 9):
        yield saved(folder, f"turned{turn}.jpg", colours, exif=turned(turn))
        yield saved(folder, f"turned{turn}.png", colours, exif=turned(turn))
    yield saved(folder, "turned.tif", colours, exif=turned(6))
    yield saved(folder, "turned.webp", colours, exif=turned(8), lossless=True)
    yield saved(folder, "cmyk.jpg", colours.convert("CMYK"))
    yield saved(folder, "la.png", grey.convert("LA"))
    yield saved(folder, "deep.png", deep)
    yield saved(folder, "deep.tif", deep)
    yield saved(folder, "whole.tif", Image.fromarray(RGB[..., 0].astype(np.int32) * 257))
    yield saved(folder, "palette.png", colours.quantize(8), transparency=3)
    yield saved(folder, "bits.png", grey.convert("1"))
    yield saved(folder, "animated.gif", colours, save_all=True, append_images=[grey.convert("RGB")])
    yield saved(folder, "animated.webp", colours, save_all=True, append_images=[grey.convert("RGB")])
    yield saved(folder, "pages.tif", colours, save_all=True, append_images=[grey.convert("RGB")])


def test_a_path_and_an_open_image_are_the_same(tmp_path):
    for file in kinds_of_image(tmp_path):
        with Image.open(file) as image:
            np.testing.assert_array_equal(as_rgb(image), as_rgb(file), err_msg=file.name)
        with Image.open(file) as image:
            image.load()
            np.testing.assert_array_equal(as_rgb(image), as_rgb(file), err_msg=file.name)


@pytest.mark.parametrize("form", ["png", "tif"])
@pytest.mark.parametrize("most", [255, 1023, 4095])
def test_few_bits_in_sixteen_are_said(tmp_path, form, most):
    file = saved(tmp_path, f"a.{form}", Image.fromarray(np.linspace(0, most, 54).reshape(6, 9).astype(np.uint16)))
    with pytest.raises(
        DataError, match=rf"a\.{form}: .* no value above {most} of 65535, and would come out nearly black"
    ):
        read_image(file)
    with Image.open(file) as image, pytest.raises(DataError, match=f"no value above {most}"):
        as_rgb(image)


@pytest.mark.parametrize("most", [200, 4095])
def test_few_bits_in_sixteen_of_colours(most):
    content = sixteen_bit_colours(np.linspace(0, most, 54).reshape(6, 3, 3).astype(np.uint16))
    with pytest.raises(DataError, match=r"a\.png: .* nearly black"):
        read_image("a.png", content)
    assert not read_image("a.png", sixteen_bit_colours(np.zeros((6, 3, 3), np.uint16))).any()


def test_floats_are_refused_through_every_door(tmp_path):
    file = saved(tmp_path, "f.tif", Image.fromarray(RGB[..., 0].astype(np.float32)))
    with Image.open(file) as image, pytest.raises(DataError, match=r"f\.tif: image has floating point pixels"):
        as_rgb(image)
    with pytest.raises(DataError, match="the PIL image: image has floating point pixels"):
        as_rgb(Image.fromarray(RGB[..., 0] / np.float32(255)))


def test_a_broken_open_image_is_a_data_error(tmp_path):
    file = saved(tmp_path, "a.png", Image.fromarray(RGB))
    file.write_bytes(file.read_bytes()[:100])
    with Image.open(file) as image, pytest.raises(DataError, match=r"a\.png: broken image"):
        as_rgb(image)


def test_hidden_files_and_circles_are_passed_over(tmp_path):
    picture = saved(tmp_path, "a.png", Image.fromarray(RGB))
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "Thumbs.db").write_bytes(b"no image")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "b.png").write_bytes(b"no image")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to("..")
    other = saved(tmp_path / "sub", "b.png", Image.fromarray(RGB))
    assert list_images(tmp_path) == [picture, other]
    assert list_images(f"{tmp_path}/**/*.png") == [tmp_path / "__MACOSX" / "b.png", picture, other]


def test_linked_folders_are_listed_once(tmp_path):
    """Where they lie first; two that lead to each other are no circle without end."""
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        saved(tmp_path / "data" / name, "x.png", Image.fromarray(RGB))
    (tmp_path / "data" / "a" / "to").symlink_to(tmp_path / "data" / "b")
    (tmp_path / "data" / "b" / "to").symlink_to(tmp_path / "data" / "a")
    (tmp_path / "far").mkdir()
    saved(tmp_path / "far", "y.png", Image.fromarray(RGB))
    (tmp_path / "data" / "far").symlink_to(tmp_path / "far")
    names = [file.relative_to(tmp_path / "data").as_posix() for file in list_images(tmp_path / "data")]
    assert names == ["a/x.png", "b/x.png", "far/y.png"]
    (tmp_path / "linked").symlink_to(tmp_path / "data")
    assert len(list_images(tmp_path / "linked")) == 3
