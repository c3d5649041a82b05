"""Domains of a data set by the brightness of its images."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minorkey.data.images import mean_luma
from minorkey.data.readers import Reader, open_datasets, validation_of
from minorkey.data.readers.boxes import BoxSpec
from minorkey.datacheck import check
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space
from minorkey.labels.tables import parse_row

GREYS = {"train": {"a": 20, "b": 69, "c": 70, "d": 200}, "val": {"a": 180, "e": 30}}
BRIGHTNESS = "brightness: {dark: [0, 70], day: [70, 256], none: [250, 256]}\n"


@pytest.fixture
def town(tmp_path: Path) -> Path:
    """A data set of boxes whose images are of one grey each; those of `c` and `d` are JPEG."""
    root = tmp_path / "town"
    for split, greys in GREYS.items():
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for key, grey in greys.items():
            suffix = "jpg" if key in "cd" else "png"
            Image.new("RGB", (48, 32), (grey,) * 3).save(root / "images" / split / f"{key}.{suffix}")
            (root / "labels" / split / f"{key}.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    (root / "dataset.yaml").write_text(f"boxes: yolo\nclasses: [car]\n{BRIGHTNESS}")
    return root


def open_town(spec: object, role: str = "unseen", annotation: str = "boxes") -> list[Reader]:
    return open_datasets(str(spec), role=role, label_space=label_space("weather7"), annotation=annotation)


def keys(reader: Reader) -> list[str]:
    return [reader.key(index) for index in range(len(reader))]


def test_domains_of_each_split(town):
    for split, dark, day in (("train", ["a", "b"], ["c", "d"]), ("val", ["e"], ["a"])):
        for name, expected in (("dark", dark), ("day", day)):
            (reader,) = open_town(f"{town}-{name}:{split}")
            assert (reader.name, reader.domain, keys(reader)) == (f"{town}-{name}:{split}", f"town-{name}", expected)
            assert reader.notes == (f"{len(expected)} of {len(GREYS[split])} images",)
            sample = reader[0]
            assert (sample.domain, sample.key, len(sample.boxes)) == (f"town-{name}", expected[0], 1)
            assert abs(int(sample.image.mean()) - GREYS[split][expected[0]]) <= 1


def test_the_data_set_itself_stays_whole(town):
    (whole,) = open_town(f"{town}:train")
    assert (whole.domain, keys(whole)) == ("town", ["a", "b", "c", "d"])


def test_splits_and_roles(town):
    assert keys(open_town(f"{town}-dark", "source")[0]) == ["a", "b"]
    assert keys(open_town(validation_of(f"{town}-dark:train"))[0]) == ["e"]
    (target,) = open_town(f"{town}-dark", "target")
    assert (keys(target), target[0].boxes) == (["a", "b"], None)
    assert open_town(f"{town}-dark:val+fog@2")[0].domain == "town-dark+fog@2"


def test_splits_joined(town):
    (dark,) = pickle.loads(pickle.dumps(open_town(f"{town}-dark:train,val")))
    assert (dark.name, dark.domain) == (f"{town}-dark:train,val", "town-dark")
    assert keys(dark) == ["train/a", "train/b", "val/e"]
    assert [dark[index].key for index in range(3)] == keys(dark)
    assert dark.notes == ("train: 2 of 4 images", "val: 1 of 2 images")
    assert [int(dark[index].image[0, 0, 0]) for index in range(3)] == [20, 69, 30]
    with pytest.raises(IndexError):
        dark[3]
    (whole,) = open_town(f"{town}:val,train")
    assert keys(whole) == ["val/a", "val/e", "train/a", "train/b", "train/c", "train/d"]


def test_images_are_decoded_for_the_domain_asked_for_alone(town):
    (town / "images" / "train" / "a.png").write_bytes(b"no image")
    assert len(open_town(f"{town}:train")[0]) == 4
    assert len(open_town(f"{town}-dark:val")[0]) == 1
    with pytest.raises(DataError, match=r"a\.png: broken image \(is not an image that can be read\)"):
        open_town(f"{town}-day:train")


def test_within_domains_of_folders(tmp_path, write_dataset):
    """Of label images, and beside domains that are folders."""
    root = write_dataset("village", split="dry/train")
    for kind, value in (("images", 5), ("labels", 0)):
        folder = root / kind / "wet" / "train"
        folder.mkdir(parents=True)
        Image.fromarray(np.full((8, 12), value, np.uint8)).save(folder / "a.png")
    patterns = "".join(f"{kind}: '{kind}/{{domain}}/{{split}}/{{key}}.*'\n" for kind in ("images", "labels"))
    (root / "dataset.yaml").write_text(
        f"ids: {{0: road, 1: car, 255: ignore}}\n{patterns}domains: [dry, wet]\n{BRIGHTNESS}"
    )
    sizes = {"wet": 1, "dry": 2, "wet-dark": 1, "dry-day": 2}
    for name, size in sizes.items():
        (reader,) = open_datasets(
            f"{root}-{name}", role="source", label_space=label_space("cityscapes19"), data_root=None
        )
        assert (reader.name, reader.domain, len(reader)) == (f"village-{name}:train", f"village-{name}", size)
        assert reader[0].labels is not None
    both = open_datasets(f"{root}:train", role="unseen", label_space=label_space("cityscapes19"))
    assert [reader.domain for reader in both] == ["village-dry", "village-wet"]


def test_errors(town):
    with pytest.raises(
        DataError,
        match=r"none:train is empty: no image has a mean luma of 250 to 256, theirs are 20\.0 to 200\.0; change `bri",
    ):
        open_town(f"{town}-none:train")
    with pytest.raises(
        ConfigError, match=r"unknown domain 'town-drak'; did you mean 'town-dark'\? Known: town, town-d"
    ):
        open_town(f"{town}-drak:val")
    with pytest.raises(DataError, match=r"folder .*city-dark is missing"):
        open_town(f"{town.with_name('city')}-dark")
    for splits in ("train,", "val,val"):
        with pytest.raises(ConfigError, match=rf"'{splits}' is no list of splits; name each once, e\.g\. train,val"):
            open_town(f"{town}:{splits}")
    with pytest.raises(ConfigError, match=r"unknown data set 'carla-det-drak'; did you mean 'carla-det-dark'"):
        open_town("carla-det-drak")


@pytest.mark.parametrize("limits", [[70, 70], [-1, 70], [0, 257], [80, 70], [float("nan"), 1]])
def test_wrong_ranges(limits):
    row = {"boxes": "coco", "brightness": {"dark": limits}}
    with pytest.raises(
        ConfigError, match=r"mine: brightness: dark is \[.*\]; expected \[from, below\], 0 <= from < below"
    ):
        parse_row(BoxSpec, row, "mine")


def test_a_folder_of_that_name_goes_first(town):
    copy = town.with_name("town-dark")
    (copy / "images" / "val").mkdir(parents=True)
    (copy / "labels" / "val").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(copy / "images" / "val" / "own.png")
    (copy / "labels" / "val" / "own.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    (copy / "dataset.yaml").write_text("boxes: yolo\nclasses: [car]\n")
    assert keys(open_town(f"{town}-dark:val")[0]) == ["own"]


@pytest.mark.parametrize(("suffix", "slack"), [("png", 0.5), ("jpg", 1.0)])
def test_mean_luma(tmp_path, suffix, slack):
    """Of the formula; Pillow rounds the luma of each pixel."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    file = tmp_path / f"image.{suffix}"
    Image.fromarray(pixels).save(file)
    expected = (pixels @ np.array([0.299, 0.587, 0.114])).mean()
    assert mean_luma(file) == mean_luma("archived", file.read_bytes()) == pytest.approx(expected, abs=slack)


def test_mean_luma_of_16_bits(tmp_path):
    Image.fromarray(np.full((4, 4), 100 << 8, np.uint16)).save(tmp_path / "deep.png")
    assert mean_luma(tmp_path / "deep.png") == 100


def test_data_check_of_a_domain(town):
    found, _ = check(f"{town}-dark", {"task": "detection", "label_space": "weather7"})
    assert found.all_problems == []
    assert [(data.name, data.images) for data in found.data] == [(f"{town}-dark:train", 2), (f"{town}-dark:val", 1)]


def test_carla_by_brightness(shared):
    folder = shared / "data" / "carla-det"
    if not folder.is_dir():
        pytest.skip(f"real boxes are not at hand ({folder} is missing)")
    parts = {}
    for name in ("", "-day", "-dark"):
        spec = f"carla-det{name}:val"
        (reader,) = open_datasets(
            spec, role="unseen", label_space=label_space("carla5"), data_root=folder.parent, annotation="boxes"
        )
        assert reader.name == spec
        parts[name] = keys(reader)
    assert len(parts["-dark"]) == 7
    assert sorted(parts["-day"] + parts["-dark"]) == parts[""]
