"""Every row of the table of boxes, in each of its forms, read from the layout, names and ids it is published in."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from published import write_loose, write_tar, write_zip
from published_boxes import PUBLISHED_BOXES, VOC_FILES, PublishedBoxes

from minorkey.data.raw_cache import RawCache
from minorkey.data.readers import Reader, open_datasets
from minorkey.data.readers.boxes import named_box_datasets
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space

CASES = [
    pytest.param(name, case, id=f"{name}-{i}")
    for name, cases in PUBLISHED_BOXES.items()
    for i, case in enumerate(cases)
]
STREET_SPACES = ("weather7", "cityscapes8", "bdd10", "kitti3", "carla5")


def open_boxes(name: str, data_root: Path, space: str = "cityscapes8", role: str = "unseen") -> list[Reader]:
    return open_datasets(name, role=role, label_space=label_space(space), data_root=data_root, annotation="boxes")


def root_of(name: str) -> str:
    return named_box_datasets()[name][0].folder or name


def check(case: PublishedBoxes, readers: list[Reader]) -> None:
    assert len(readers) == case.domains
    classes = label_space(case.space).classes
    found = {}
    for reader in pickle.loads(pickle.dumps(readers)):
        assert reader.name == f"{reader.domain}:{case.split}"
        for index in range(len(reader)):
            sample = reader[index]
            assert (sample.domain, sample.key, sample.labels) == (reader.domain, reader.key(index), None)
            assert sample.image.shape == (6, 8, 3)
            assert (sample.boxes.dtype, sample.boxes.shape) == (np.float32, (len(sample.boxes), 4))
            assert (sample.box_classes.dtype, sample.crowd.dtype) == (np.int64, bool)
            found[sample.domain, sample.key] = [
                (classes[number], tuple(box), crowd)
                for box, number, crowd in zip(
                    sample.boxes.tolist(), sample.box_classes, sample.crowd.tolist(), strict=True
                )
            ]
        assert len(reader.notes) == len(case.notes)
        assert all(end in note for note, end in zip(reader.notes, case.notes, strict=True))
    assert found == case.boxes


def test_every_row_and_form_has_a_fixture():
    assert {name: len(cases) for name, cases in PUBLISHED_BOXES.items()} == {
        name: len(forms) for name, forms in named_box_datasets().items()
    }


@pytest.mark.parametrize(("name", "case"), CASES)
def test_loose(name, case, tmp_path):
    write_loose(case.files, tmp_path / root_of(name))
    check(case, open_boxes(f"{name}:{case.split}", tmp_path, case.space))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_in_archives(name, case, tmp_path):
    root = tmp_path / root_of(name)
    write_tar(case.files, root / "all.tar")
    check(case, open_boxes(f"{name}:{case.split}", tmp_path, case.space))
    (root / "all.tar").unlink()
    write_zip({f"release/{file}": content for file, content in case.files.items()}, root / "a.zip")
    check(case, open_boxes(f"{name}:{case.split}", tmp_path, case.space))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_from_a_cache(name, case, tmp_path):
    write_loose(case.files, tmp_path / root_of(name))
    cache = RawCache(tmp_path / "pixels")
    named = {"label_space": label_space(case.space), "data_root": tmp_path, "annotation": "boxes", "cache": cache}
    for _ in range(2):
        check(case, open_datasets(f"{name}:{case.split}", role="unseen", **named))
    assert len(list((tmp_path / "pixels" / "pixels").rglob("*.npy"))) >= 1


@pytest.mark.parametrize(("name", "case"), CASES)
def test_target_reads_no_annotations(name, case, tmp_path):
    kept = {
        file: content if "ImageSets" in file or content[:1] in (b"\xff", b"\x89") else b"broken"
        for file, content in case.files.items()
    }
    write_loose(kept, tmp_path / root_of(name))
    for reader in open_boxes(f"{name}:{case.split}", tmp_path, case.space, "target"):
        sample = reader[0]
        assert (sample.boxes, sample.box_classes, sample.crowd, sample.labels) == (None, None, None, None)
        assert {key for domain, key in case.boxes if domain == reader.domain} <= {
            reader.key(index) for index in range(len(reader))
        }


@pytest.mark.parametrize("name", sorted(named_box_datasets().keys() - {"coco", "carla-det"}))
def test_every_data_set_of_streets_has_a_place_for_each_class(name):
    """COCO files say their classes themselves: `test_coco_in_spaces_of_streets`; those of CARLA are of no other."""
    from minorkey.data.readers.boxes.places import BoxPlaces

    for form in named_box_datasets()[name]:
        for space in (*STREET_SPACES, "coco80", "voc20"):
            places = BoxPlaces.of(form.names, form, label_space(space))
            assert any(place.train_ids and not place.crowd for place in places.places.values())


@pytest.mark.parametrize("space", [*STREET_SPACES, "voc20", "coco80"])
def test_coco_in_spaces_of_streets(space):
    from minorkey.data.readers.boxes.places import BoxPlaces

    (form,) = named_box_datasets()["coco"]
    names = label_space("coco80").classes
    places = BoxPlaces.of(names, form, label_space(space)).places
    own = [name for name in names if places[name].train_ids]
    assert len(own) == {"kitti3": 2, "carla5": 6, "weather7": 6, "cityscapes8": 7, "bdd10": 8}.get(
        space, len(label_space(space))
    )


def test_domains_by_name_and_all_images(tmp_path):
    write_loose(PUBLISHED_BOXES["diverse_weather"][0].files, tmp_path / "diverse_weather")
    (night,) = open_boxes("diverse_weather-night_sunny", tmp_path, "weather7")
    assert (night.name, night.domain, len(night)) == ("diverse_weather-night_sunny:test", night.domain, 1)
    (source,) = open_boxes("diverse_weather-daytime_clear", tmp_path, "weather7", "source")
    assert (source.name, source.key(0)) == ("diverse_weather-daytime_clear:train", "other")
    (whole,) = open_boxes("diverse_weather-dusk_rainy:all", tmp_path, "weather7")
    assert [whole.key(index) for index in range(len(whole))] == ["2a0a0b1a-7c39d841", "other"]
    assert open_boxes("diverse_weather-night_sunny+fog@2", tmp_path, "weather7")[0][0].boxes.shape == (2, 4)
    with pytest.raises(DataError, match=r"unknown split 'tset'; did you mean 'test'"):
        open_boxes("diverse_weather-dusk_rainy:tset", tmp_path, "weather7")
    with pytest.raises(ConfigError, match=r"unknown data set 'diverse_weather-nigth'; did you mean 'diverse_weather-n"):
        open_boxes("diverse_weather-nigth", tmp_path, "weather7")


def test_lists_of_splits(tmp_path):
    files = {f"VOC2007/{name}": content for name, content in VOC_FILES.items()}
    write_loose(files, tmp_path / "voc2007")
    with pytest.raises(DataError, match=r"no list of split 'test', expected VOC2007/ImageSets/Main/test\.txt; unknown"):
        open_boxes("voc2007:test", tmp_path)
    (tmp_path / "voc2007/VOC2007/ImageSets/Main/val.txt").write_text("000001\n000009\n")
    with pytest.raises(DataError, match=r"image '000009' of split 'val' is missing; expected VOC2007/JPEGImages/00"):
        open_boxes("voc2007:val", tmp_path)
    (tmp_path / "voc2007/VOC2007/ImageSets/Main/val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt lists no image"):
        open_boxes("voc2007:val", tmp_path)
    (tmp_path / "voc2007/VOC2007/Annotations/000003.xml").unlink()
    with pytest.raises(DataError, match=r"image '000003' of split 'train' without a label; expected VOC2007/Annot"):
        open_boxes("voc2007:train", tmp_path)


def test_missing_files_are_said(tmp_path):
    write_loose({"val2017/1.jpg": b""}, tmp_path / "coco")
    with pytest.raises(DataError, match=r"no annotations of split 'val'; expected annotations/instances_val2017\.json"):
        open_boxes("coco:val", tmp_path)
    with pytest.raises(DataError, match=r"split 'test' of 'coco' has no labels to train on"):
        open_boxes("coco:test", tmp_path, role="source")
    with pytest.raises(DataError, match=r"folder .*kitti-object is missing"):
        open_boxes("kitti-object", tmp_path)
    with pytest.raises(ConfigError, match=r"'gta5' is for segmentation, the task is detection; set task=segmentation"):
        open_boxes("gta5", tmp_path)
    with pytest.raises(ConfigError, match=r"no boxes are read by `hf:`; save them as COCO JSON"):
        open_boxes("hf:somewhere", tmp_path)


def test_class_without_a_place(tmp_path):
    write_loose(PUBLISHED_BOXES["carla-det"][0].files, tmp_path / "carla-det")
    with pytest.raises(ConfigError, match=r"label space 'weather7' has no place for 'vehicle'"):
        open_boxes("carla-det:val", tmp_path, "weather7")


def test_carla_as_it_is(shared):
    folder = shared / "data" / "carla-det"
    if not folder.is_dir():
        pytest.skip(f"real boxes are not at hand ({folder} is missing)")
    (train,), (val,) = (open_boxes(f"carla-det:{split}", folder.parent, "carla5") for split in ("train", "val"))
    assert (len(train), len(val), train.notes) == (150, 50, ())
    samples = [val[index] for index in range(len(val))]
    assert np.bincount(np.concatenate([sample.box_classes for sample in samples])).tolist() == [74, 12, 6, 68, 2]
    assert all(sample.image.shape == (380, 640, 3) for sample in samples)
    assert min(len(sample.boxes) for sample in samples) == 0


def test_every_row_is_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    documented = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and line.count("|") == 7}
    assert documented == set(named_box_datasets())
