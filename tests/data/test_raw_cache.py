"""Pixels kept on disk: the same samples and batches, decoded once, and anew where a file has changed."""

import os
import pickle
import shutil
import zipfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from minorkey.data import images, label_images
from minorkey.data.loaders import training_loader
from minorkey.data.raw_cache import RawCache
from minorkey.data.readers import open_datasets
from minorkey.data.transforms import TransformConfig
from minorkey.errors import ConfigError, DataError, StorageError
from minorkey.labels import label_space
from minorkey.runs.train import train
from minorkey.tasks.segmentation.task import Segmentation

SPACE = label_space("street7")


def reader_of(root, cache=None, role="source"):
    return open_datasets(str(root), role=role, label_space=SPACE, cache=cache)[0]


def entries(cache, part="pixels"):
    return sorted(file for file in (cache.folder / part).rglob("*") if file.is_file())


@pytest.fixture
def cache(tmp_path):
    return RawCache(tmp_path / "pixels")


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded, by name."""
    names = []
    doors = [(images, "read_plain_png"), (images, "read_plain_jpeg"), (label_images, "read_plain_png")]
    for module, function in doors:
        original = getattr(module, function)

        def counted(file, content=None, original=original):
            pixels = original(file, content)
            if pixels is not None:
                names.append(os.path.basename(file))
            return pixels

        monkeypatch.setattr(module, function, counted)
    return names


def as_jpeg(root):
    """The same data set with its images as JPEG."""
    for file in (root / "images").rglob("*.png"):
        Image.open(file).save(file.with_suffix(".jpg"), quality=90)
        file.unlink()
    return root


def in_archives(root):
    """The same data set with images and labels in archives."""
    for kind in ("images", "labels"):
        with zipfile.ZipFile(root / f"{kind}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted((root / kind).rglob("*.png")):
                archive.write(file, file.relative_to(root))
        shutil.rmtree(root / kind)
    return root


def batches(reader, workers=0):
    config = TransformConfig(crop=(24, 24), scale_ratios=(0.8, 1.0, 1.5))
    loader = training_loader(
        Segmentation(), [reader], config, batch_size=3, steps_from=0, steps_to=4, seed=1, mean=(0.5,) * 3,
        std=(0.2,) * 3, workers=workers,
    )  # fmt: skip
    return list(loader)


@pytest.mark.parametrize("change", [lambda root: root, as_jpeg, in_archives], ids=["png", "jpeg", "archives"])
def test_batches_are_the_same_bits_without_filling_and_from_the_cache(street_folder, cache, decoded, change):
    root = change(street_folder())
    plain = batches(reader_of(root))
    filling = batches(reader_of(root, cache))
    decoded.clear()
    kept = batches(reader_of(root, cache))
    assert decoded == []
    for without, *others in zip(plain, filling, kept, strict=True):
        for other in others:
            assert torch.equal(without.images, other.images)
            assert torch.equal(without.labels, other.labels)
            assert torch.equal(without.distortions, other.distortions)
            assert without.keys == other.keys


def test_workers_fill_it_and_read_it(street_folder, cache):
    root = street_folder()
    plain, filled = batches(reader_of(root)), batches(reader_of(root, cache), workers=2)
    assert all(torch.equal(one.images, other.images) for one, other in zip(plain, filled, strict=True))
    assert len(entries(cache)) == 8


def test_a_file_that_changes_is_decoded_anew(street_folder, cache, decoded):
    root = street_folder()
    reader = reader_of(root, cache)
    before = reader[1].image.copy()
    Image.fromarray(255 - before).save(root / "images" / "train" / "1.png")
    assert np.array_equal(reader[1].image, 255 - before)
    decoded.clear()
    assert np.array_equal(reader_of(root, cache)[1].image, 255 - before)
    assert decoded == []


def test_a_data_set_that_moves_is_hashed_and_not_decoded(street_folder, cache, decoded, tmp_path):
    root = street_folder()
    expected = reader_of(root, cache)[0]
    decoded.clear()
    moved = reader_of(root.rename(tmp_path / "elsewhere"), cache)[0]
    assert decoded == []
    assert np.array_equal(moved.image, expected.image)
    assert np.array_equal(moved.labels, expected.labels)


def test_what_is_kept_cannot_be_written_to_and_may_be_sent(street_folder, cache):
    reader = reader_of(street_folder(), cache)
    first, again = reader[0], reader[0]
    assert not again.image.flags.writeable
    sent = pickle.loads(pickle.dumps(again))
    assert np.array_equal(sent.image, first.image)
    assert again.labels.flags.writeable  # mapped from the ids that are kept


def test_an_entry_cut_short_is_written_again(street_folder, cache):
    reader = reader_of(street_folder(), cache)
    expected = reader[0].image.copy()
    for file in entries(cache):
        file.write_bytes(file.read_bytes()[:-100])
    assert np.array_equal(reader[0].image, expected)
    assert np.array_equal(reader[0].image, expected)


def test_an_entry_that_is_no_text_is_written_again(street_folder, cache):
    reader = reader_of(street_folder(), cache)
    expected = reader[0].image.copy()
    for file in (cache.folder / "files").rglob("*"):
        if file.is_file():
            file.write_bytes(b"\xff\xfe\0")
    assert np.array_equal(reader[0].image, expected)


def test_an_entry_with_a_flipped_bit_is_written_again(street_folder, cache, decoded):
    root = street_folder(images=1)
    expected = reader_of(root, cache)[0]
    for part in (0.0, 0.1, 0.5, 1.0):
        for file in entries(cache):
            content = bytearray(file.read_bytes())
            content[round(part * (len(content) - 1))] ^= 1
            file.write_bytes(content)
        decoded.clear()
        again = reader_of(root, RawCache(cache.folder))[0]
        assert np.array_equal(again.image, expected.image)
        assert np.array_equal(again.labels, expected.labels)
        assert len(decoded) == 2
    assert np.array_equal(reader_of(root, RawCache(cache.folder))[0].image, expected.image)
    assert len(decoded) == 2


def test_no_flipped_bit_of_an_entry_gives_other_pixels(cache):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)

    def kept(decode):
        return RawCache(cache.folder).pixels("image", None, lambda: b"", decode)

    kept(lambda _: array)
    (file,) = entries(cache)
    content = file.read_bytes()
    for bit in range(0, 8 * len(content), 37):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        assert np.array_equal(kept(lambda _: array + 1), array + 1)


def test_many_at_once_leave_whole_entries_and_nothing_else(street_folder, cache):
    root = street_folder(images=2)
    expected = [reader_of(root)[index].image for index in (0, 1)]
    readers = [reader_of(root, RawCache(cache.folder)) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: readers[number % 8][number % 2].image, range(32)))
    assert all(np.array_equal(image, expected[number % 2]) for number, image in enumerate(found))
    assert len(entries(cache)) == len(entries(cache, "files")) == 4


def test_what_is_broken_is_said_and_not_kept(street_folder, cache):
    root = street_folder()
    file = root / "images" / "train" / "0.png"
    file.write_bytes(file.read_bytes()[:500])
    reader = reader_of(root, cache)
    for _ in range(2):
        with pytest.raises(DataError, match=r"0\.png: broken image"):
            reader[0]
    assert entries(cache) == []
    file.unlink()
    with pytest.raises(DataError, match=r"0\.png cannot be read"):
        reader[0]


def test_a_bare_folder_of_target_images(street_folder, cache, decoded):
    folder = street_folder() / "images" / "train"
    expected = reader_of(folder, role="target")[2].image
    reader = reader_of(folder, cache, role="target")
    assert np.array_equal(reader[2].image, expected)
    decoded.clear()
    assert np.array_equal(reader[2].image, expected)
    assert decoded == []
    (folder / "2.png").unlink()
    with pytest.raises(DataError, match=r"2\.png is missing"):
        reader[2]


def test_the_command_fills_it_and_goes_on_where_it_stopped(street_folder, cache, command, decoded):
    root = street_folder(images=40)
    asked = ["data", "cache", f"{root}:train", "label_space=street7", f"data_cache={cache.folder}", "--workers", 0]
    assert command(*asked)[0] == 0
    assert len(entries(cache)) == 80
    decoded.clear()
    again = reader_of(root, cache)
    assert all(again[index].labels is not None for index in range(40))
    assert decoded == []
    for missing in entries(cache)[:3]:
        missing.unlink()
    assert command(*asked)[0] == 0
    assert len(decoded) == 3
    assert len(entries(cache)) == 80


def test_the_command_says_the_size_first(street_folder, cache):
    from typer.testing import CliRunner

    from minorkey.cli import app

    root = street_folder(images=40, size=(100, 200))
    asked = ["data", "cache", f"{root}:train", "label_space=street7", f"data_cache={cache.folder}", "--workers", "0"]
    first, second = (CliRunner().invoke(app, asked).stdout.splitlines() for _ in range(2))
    # 32 of 40 images were read to know it; the rest has 8 * 100 * 200 pixels of 3 + 1 bytes
    assert first[0].endswith("about 0.6 MB to be written for 40 images")
    assert second == [f"{cache.folder}: about 0.0 MB to be written for 40 images", "40 images are kept"]


def test_a_broken_image_is_named_by_the_command(street_folder, cache, command):
    root = street_folder()
    (root / "images" / "train" / "3.png").write_bytes(b"no image")
    code, _ = command("data", "cache", f"{root}:train", "label_space=street7", f"data_cache={cache.folder}")
    assert code == 2
    assert len(entries(cache)) == 6


def test_a_disk_without_room_is_refused_before_it_is_filled(street_folder, make_config, cache, monkeypatch, tmp_path):
    root = street_folder(images=40, size=(100, 200))
    left = namedtuple("Usage", "total used free")(10**9, 10**9 - 500_000, 500_000)
    monkeypatch.setattr("minorkey.data.cache_size.shutil.disk_usage", lambda folder: left)
    config = make_config(source=f"{root}:train", label_space="street7", data_cache=str(cache.folder))
    with pytest.raises(StorageError, match=r"about 0\.6 MB are to be written, and the disk has 0\.5 MB left; make"):
        train(config, tmp_path / "run")


def test_the_command_needs_a_folder(street_folder, command):
    code, error = command("data", "cache", f"{street_folder()}:train", "label_space=street7")
    assert code == 2
    assert "no data_cache is set; name the folder" in error


def test_a_training_is_the_same_with_it_and_may_go_on_without(
    street_folder, make_config, cache, console, decoded, tmp_path
):
    root = street_folder(images=40)
    asked = {"source": f"{root}:train", "label_space": "street7", "unseen": ["world:night"]}
    config = make_config(**asked, data_cache=str(cache.folder))
    train(config, tmp_path / "kept", console=console)
    train(make_config(**asked), tmp_path / "plain", console=console)
    assert "will be written, as images are first read" in console.file.getvalue()
    kept, plain = ((tmp_path / name / "head.safetensors").read_bytes() for name in ("kept", "plain"))
    assert kept == plain
    train(make_config(**asked), tmp_path / "kept", resume=True, console=console)
    with pytest.raises(ConfigError, match="another configuration"):
        train(make_config(**asked, seed=3), tmp_path / "kept", resume=True, console=console)
