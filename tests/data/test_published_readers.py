"""Every row of datasets.yaml, in each of its forms, read from the layout, names and ids it is published in."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from published import (
    CITY,
    FINE,
    FRANKFURT,
    PUBLISHED,
    RGB,
    Published,
    deep,
    grey,
    picture,
    write_loose,
    write_tar,
    write_zip,
)
from torch.utils.data import DataLoader, Dataset

from minorkey.data.raw_cache import RawCache
from minorkey.data.readers import Reader, open_datasets
from minorkey.data.readers.spec import named_datasets
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space

CASES = [
    pytest.param(name, case, id=f"{name}-{i}") for name, cases in PUBLISHED.items() for i, case in enumerate(cases)
]


def open_split(
    name: str, split: str, data_root: Path, space: str = "cityscapes19", cache: RawCache | None = None
) -> list[Reader]:
    named = {"label_space": label_space(space), "data_root": data_root, "cache": cache}
    return open_datasets(f"{name}:{split}", role="unseen", **named)


def check(case: Published, readers: list[Reader]) -> None:
    assert len(readers) == case.domains
    found = {
        (sample.domain, sample.key): sample
        for reader in readers
        for sample in map(reader.__getitem__, range(len(reader)))
    }
    assert found.keys() == case.labels.keys()
    for place, expected in case.labels.items():
        assert found[place].image.shape == (2, 4, 3)
        assert found[place].labels.dtype == np.uint8
        assert found[place].labels.tolist() == expected
    for reader in readers:
        assert reader.name == f"{reader.domain}:{case.split}"
        assert [reader.key(i) for i in range(len(reader))] == sorted(
            key for domain, key in case.labels if domain == reader.domain
        )


def root_of(name: str) -> str:
    return named_datasets()[name][0].folder or name


def test_every_row_and_form_has_a_fixture():
    assert {name: len(cases) for name, cases in PUBLISHED.items()} == {
        name: len(forms) for name, forms in named_datasets().items()
    }


@pytest.mark.parametrize(("name", "case"), CASES)
def test_loose(name, case, tmp_path):
    write_loose(case.files, tmp_path / root_of(name))
    check(case, open_split(name, case.split, tmp_path, case.space))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_zipped_with_and_without_a_folder_around_it(name, case, tmp_path):
    root = tmp_path / root_of(name)
    write_zip({f"release/{file}": content for file, content in case.files.items()}, root / "a.ZIP")
    check(case, open_split(name, case.split, tmp_path, case.space))
    (root / "a.ZIP").unlink()
    for index, (file, content) in enumerate(case.files.items()):
        write_zip({file: content}, root / f"part{index}.zip")
    check(case, open_split(name, case.split, tmp_path, case.space))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_tarred(name, case, tmp_path):
    write_tar(case.files, tmp_path / root_of(name) / "all.tar")
    check(case, open_split(name, case.split, tmp_path, case.space))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_from_a_cache(name, case, tmp_path):
    """One for all forms of labels: the second time, what was decoded is there."""
    write_loose(case.files, tmp_path / root_of(name))
    cache = RawCache(tmp_path / "pixels")
    check(case, open_split(name, case.split, tmp_path, case.space, cache))
    kept = cache.written
    assert kept > 0
    check(case, open_split(name, case.split, tmp_path, case.space, cache))
    assert cache.written == kept


def test_image_pixels_are_those_of_the_file(tmp_path):
    write_zip(PUBLISHED["cityscapes"][0].files, tmp_path / "cityscapes" / "leftImg8bit_trainvaltest.zip")
    assert np.array_equal(open_split("cityscapes", "val", tmp_path)[0][0].image, RGB)


def test_archive_stands_for_a_folder_of_its_name(tmp_path):
    """CamVid's label archive holds its files without a folder."""
    files = PUBLISHED["camvid"][1].files
    for folder in ("701_StillsRaw_full", "LabeledApproved_full"):
        inner = {name.partition("/")[2]: content for name, content in files.items() if name.startswith(folder)}
        write_zip(inner, tmp_path / "camvid" / f"{folder}.zip")
    check(PUBLISHED["camvid"][1], open_split("camvid", "all", tmp_path))


def test_gta5_parts_each_in_its_folder(tmp_path):
    files = {"01_images/images/00001.png": picture(), "01_labels/labels/00001.png": grey(FINE)}
    write_loose(files, tmp_path / "gta5")
    (reader,) = open_split("gta5", "train", tmp_path)
    assert (len(reader), reader.notes) == (1, ())
    write_zip({"images/00002.png": picture(), "labels/00002.png": grey(FINE)}, tmp_path / "gta5" / "02.zip")
    (reader,) = open_split("gta5", "train", tmp_path)
    assert [reader.key(i) for i in range(len(reader))] == ["00002"]
    assert reader.notes == ("01_images/images is not read: the data set lies beside it",)


def test_gta5_pairs_that_differ_in_size_are_left_out_and_said(tmp_path):
    write_loose(PUBLISHED["gta5"][0].files, tmp_path / "gta5")
    (reader,) = open_split("gta5", "train", tmp_path)
    assert reader.notes == ("'15188' is left out: image and labels differ in size",)
    write_loose({"images/00002.png": picture(), "labels/00002.png": grey([[7]])}, tmp_path / "gta5")
    (reader,) = open_split("gta5", "train", tmp_path)
    with pytest.raises(DataError, match=r"labels/00002\.png is 1x1 but its image is 4x2 \(width x height\)"):
        reader[1]


def test_one_domain_of_several(tmp_path):
    write_loose(PUBLISHED["acdc"][0].files, tmp_path / "acdc")
    (night,) = open_split("acdc-night", "val", tmp_path)
    assert (night.name, night.domain) == ("acdc-night:val", "acdc-night")
    assert night[0].labels[0, 0] == 1
    names = [reader.name for reader in open_split("acdc", "val+fog@2", tmp_path)]
    assert names[0] == "acdc-fog:val+fog@2"


def test_split_without_labels_is_for_prediction_only(tmp_path):
    key = "berlin/berlin_000000_000019"
    files = {f"leftImg8bit/test/{key}_leftImg8bit.png": picture(), f"gtFine/test/{key}_gtFine_labelIds.png": grey(FINE)}
    write_loose(files, tmp_path / "cityscapes")
    (reader,) = open_split("cityscapes", "test", tmp_path)
    assert (reader.key(0), reader[0].labels) == (key, None)
    with pytest.raises(DataError, match=r"split 'test' of 'cityscapes' has no labels to train on"):
        open_datasets("cityscapes:test", role="source", label_space=label_space("cityscapes19"), data_root=tmp_path)


def test_default_splits(tmp_path):
    space = label_space("cityscapes19")
    write_loose(PUBLISHED["nighttime-driving"][0].files, tmp_path / "nighttime-driving")
    write_loose(PUBLISHED["gta5"][0].files, tmp_path / "gta5")
    open_one = lambda name, role: open_datasets(name, role=role, label_space=space, data_root=tmp_path)[0].name  # noqa: E731
    assert open_one("nighttime-driving", "unseen") == "nighttime-driving:test"
    assert open_one("gta5", "source") == "gta5:train"
    with pytest.raises(DataError, match=r"'gta5' has no split to judge on by itself; say which, e\.g\. gta5:train"):
        open_one("gta5", "unseen")


def test_missing_files_are_said(tmp_path):
    root = tmp_path / "cityscapes"
    root.mkdir()
    with pytest.raises(DataError, match=r"no images of split 'val'; expected leftImg8bit/val/\*_leftImg8bit\.png$"):
        open_split("cityscapes", "val", tmp_path)
    (root / "leftImg8bit_trainvaltest.tar.gz").touch()
    with pytest.raises(
        DataError, match=r"\(leftImg8bit_trainvaltest\.tar\.gz cannot be read at random places: decompress"
    ):
        open_split("cityscapes", "val", tmp_path)
    write_loose({f"leftImg8bit/val/{FRANKFURT}_leftImg8bit.png": picture()}, root)
    with pytest.raises(DataError, match=rf"image '{FRANKFURT}' of split 'val' without a label; expected {CITY}"):
        open_split("cityscapes", "val", tmp_path)
    with pytest.raises(DataError, match=r"no images of split 'train' \(of val it does\); expected leftImg8bit/train/"):
        open_split("cityscapes", "train", tmp_path)
    with pytest.raises(DataError, match=r"unknown split 'vall'; did you mean 'val'\? Known: val$"):
        open_split("cityscapes", "vall", tmp_path)


def test_the_likeliest_form_is_complained_about(tmp_path):
    write_loose({"701_StillsRaw_full/a.png": picture()}, tmp_path / "camvid")
    with pytest.raises(DataError, match=r"image 'a' .* expected LabeledApproved_full/a_L\.png"):
        open_split("camvid", "all", tmp_path)
    with pytest.raises(DataError, match=r"unknown split 'val'.* Known: all"):
        open_split("camvid", "val", tmp_path)


def test_ids_that_are_not_of_the_data_set(tmp_path):
    files = PUBLISHED["bdd100k"][0].files | {
        "labels/sem_seg/masks/val/7d06fefd-f7be05a6.png": grey([[19] * 4, [0] * 4])
    }
    write_zip(files, tmp_path / "bdd100k" / "bdd.zip")
    (reader,) = open_split("bdd100k", "val", tmp_path)
    with pytest.raises(DataError, match=r"bdd\.zip/labels/sem_seg/masks/val/.*\.png: no map names id 19 \(4 pixels\)"):
        reader[0]


def test_synthia_ids_come_from_16_bits(tmp_path):
    files = {"RGB/1.png": picture(), "GT/LABELS/1.png": deep([[1, 2, 3, 4]] * 2, channels=4)}
    write_loose(files, tmp_path / "synthia")
    assert open_split("synthia", "train", tmp_path)[0][0].labels[0].tolist() == [10, 2, 0, 1]
    write_loose({"GT/LABELS/1.png": grey([[1, 2, 3, 4]] * 2)}, tmp_path / "synthia")
    with pytest.raises(DataError, match=r"1\.png: label image has mode L, expected a PNG of 16-bit colours"):
        open_split("synthia", "train", tmp_path)[0][0]


def test_cityscapes16(tmp_path):
    files = {"RGB/1.png": picture(), "GT/LABELS/1.png": deep([[1, 16, 18, 20], [17, 19, 12, 11]])}
    write_loose(files, tmp_path / "synthia")
    (reader,) = open_split("synthia", "train", tmp_path, "cityscapes16")
    assert reader[0].labels.tolist() == [[9, 255, 255, 255], [11, 13, 14, 15]]


def test_class_without_a_place(tmp_path):
    write_loose(PUBLISHED["ade20k"][0].files, tmp_path / "ade20k")
    with pytest.raises(ConfigError, match=r"'cityscapes19' has no place for 'airplane', .* and \d+ more"):
        open_split("ade20k", "val", tmp_path)


class Samples(Dataset):
    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> int:
        sample = self.reader[index]
        return int(sample.labels.sum()) + int(sample.image.sum())


@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])
def test_archives_are_read_by_workers(start, workers, tmp_path):
    rng = np.random.default_rng(0)
    labels = {f"labels/{index:05d}.png": grey(rng.integers(7, 9, (2, 4)).tolist()) for index in range(16)}
    write_zip({f"images/{index:05d}.png": picture() for index in range(16)}, tmp_path / "gta5" / "images.zip")
    write_tar(labels, tmp_path / "gta5" / "labels.tar")
    (reader,) = open_split("gta5", "train", tmp_path)
    samples = Samples(reader)
    alone = [samples[index] for index in range(16)]
    context = multiprocessing.get_context(start)
    loader = DataLoader(samples, batch_size=None, num_workers=workers, multiprocessing_context=context)
    assert [int(value) for value in loader] == alone
    assert len(set(alone)) > 1


def test_every_row_is_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    documented = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and line.count("|") == 6}
    assert documented == set(named_datasets())
