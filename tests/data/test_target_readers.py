import shutil

import numpy as np
import pytest
from PIL import Image

from minorkey import world
from minorkey.data.readers import WorldOptions, open_datasets
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space

SPACE = label_space("street7")
OPTIONS = WorldOptions(seed=3, train_count=4, eval_count=2, size=(64, 32))


def open_target(spec, **options):
    return open_datasets(str(spec), role="target", label_space=SPACE, **options)[0]


def keys(reader):
    return [reader.key(index) for index in range(len(reader))]


@pytest.fixture
def frames(tmp_path):
    """Random images in a folder with sub-folders, and what is not an image."""
    rng = np.random.default_rng(0)
    pictures = {}
    for name in ("b.png", "a.jpg", "clip/0001.png", "clip/0002.png"):
        file = tmp_path / "frames" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pictures[name] = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
        Image.fromarray(pictures[name]).save(file)
    (tmp_path / "frames" / "notes.txt").write_text("x")
    (tmp_path / "frames" / "._b.png").write_bytes(b"x")  # as some systems leave beside every file
    return tmp_path / "frames", pictures


def test_bare_folder(frames):
    folder, pictures = frames
    reader = open_target(folder)
    assert (reader.name, reader.domain, len(reader)) == (str(folder), "frames", 4)
    assert keys(reader) == ["a", "b", "clip/0001", "clip/0002"]
    sample = reader[3]
    assert (sample.labels, sample.domain, sample.key) == (None, "frames", "clip/0002")
    np.testing.assert_array_equal(sample.image, pictures["clip/0002.png"])
    assert reader.notes == ("images of 2 folders are taken: ., clip",)


def test_pictures_that_are_not_read_are_said(frames):
    folder, _ = frames
    for name in ("IMG_1.HEIC", "clip/IMG_2.heic", "IMG_3.dng"):
        (folder / name).touch()
    reader = open_target(folder)
    assert len(reader) == 4
    assert reader.notes[-1] == "3 pictures passed over, as IMG_1.HEIC: save as PNG or JPEG what is to be read"
    assert len(open_target(folder / "a.jpg").notes) == 0


def test_glob_and_file(frames):
    folder, _ = frames
    reader = open_target(f"{folder}/cl*/*.png")
    assert (keys(reader), reader.domain, reader.notes) == (["clip/0001", "clip/0002"], "frames", ())
    assert keys(open_target(f"{folder}/**/*.png")) == ["b", "clip/0001", "clip/0002"]
    assert keys(open_target(folder / "a.jpg")) == ["a"]


def test_corrupted_folder(frames):
    folder, pictures = frames
    reader = open_target(f"{folder}+fog@3")
    assert (reader.domain, reader[1].labels, reader[1].key) == ("frames+fog@3", None, "b")
    assert not np.array_equal(reader[1].image, pictures["b.png"])


def test_images_of_one_name(frames):
    folder, _ = frames
    shutil.copy(folder / "b.png", folder / "b.b.png")  # sorted between the two
    shutil.copy(folder / "a.jpg", folder / "b.jpg")
    with pytest.raises(DataError, match=r"b\.jpg and b\.png share the name 'b'; keep one of them, or give a glob$"):
        open_target(folder)


def test_nothing_to_read(tmp_path):
    with pytest.raises(DataError, match=r"holds no images; expected one of \.bmp"):
        open_target(tmp_path)
    with pytest.raises(DataError, match=r"nowhere is missing; .* \(a target: images\)$"):
        open_target(tmp_path / "nowhere")
    with pytest.raises(
        ConfigError, match=r"unknown data set 'camvit'; did you mean 'camvid'.*\(a target: of images\)$"
    ):
        open_target("camvit")


def test_bare_folder_is_no_source(frames):
    with pytest.raises(DataError, match=r"dataset\.yaml is missing; write one"):
        open_datasets(str(frames[0]), role="source", label_space=SPACE)


def test_labels_are_not_looked_at(write_dataset):
    """Neither missing or broken label files nor ids that the label space has no place for matter."""
    root = write_dataset(keys=("a", "b"))
    (root / "dataset.yaml").write_text("ids: {0: road, 1: spaceship}\n")
    with pytest.raises(ConfigError, match="spaceship"):
        open_datasets(str(root), role="source", label_space=SPACE)
    (root / "labels" / "train" / "a.png").write_bytes(b"broken")
    reader = open_target(root)
    assert (reader.name, reader.domain, keys(reader)) == (f"{root}:train", "mine", ["a", "b"])
    assert reader[0].labels is None
    shutil.rmtree(root / "labels")
    assert len(open_target(root)) == 2


def test_default_split_may_be_without_labels(tmp_path):
    images = tmp_path / "dark_zurich" / "rgb_anon"
    for split in ("train", "val"):
        (images / split / "night").mkdir(parents=True)
        Image.new("RGB", (8, 4)).save(images / split / "night" / "x_rgb_anon.png")
    (tmp_path / "dark_zurich").rename(tmp_path / "dark-zurich")
    reader = open_target("dark-zurich", data_root=tmp_path)
    assert (reader.name, reader[0].labels) == ("dark-zurich:train", None)
    with pytest.raises(DataError, match="has no split to train on by itself"):
        open_datasets("dark-zurich", role="source", label_space=SPACE, data_root=tmp_path)
    (tmp_path / "nighttime-driving").mkdir()
    with pytest.raises(DataError, match="has no split to adapt to by itself; say which, e.g. nighttime-driving:test"):
        open_target("nighttime-driving", data_root=tmp_path)


def test_world_shows_scenes_of_its_own():
    reader = open_target("world:night", options=OPTIONS)
    assert (reader.name, reader.domain, len(reader)) == ("world:night", "night", 4)
    sample = reader[2]
    assert (sample.labels, sample.depth, sample.boxes, sample.key) == (None, None, None, reader.key(2))
    seed = int(reader.key(0).partition("-")[0])
    assert seed % 2 == 0  # odd seeds are judged on, whatever the seed of the run
    np.testing.assert_array_equal(sample.image, world.render(seed, 2, domain="night", size=(64, 32)).image)
    source = open_datasets("world:night", role="source", label_space=SPACE, options=OPTIONS)[0]
    assert set(keys(reader)).isdisjoint(keys(source))
    assert not np.array_equal(sample.image, source[2].image)


def test_world_without_labels_fits_any_label_space():
    with pytest.raises(ConfigError):
        open_datasets("world", role="source", label_space=label_space("ade150"))
    assert open_datasets("world", role="target", label_space=label_space("ade150"))[0].domain == "clear"
