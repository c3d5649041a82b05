import shutil

import pytest

from minorkey.data.readers import open_datasets
from minorkey.data.readers.spec import named_datasets
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space

STREET7 = label_space("street7")


def test_default_split_follows_the_role(write_dataset):
    write_dataset(split="train", keys=("a", "b"))
    root = write_dataset(split="val", keys=("c",))
    source, unseen = (open_datasets(str(root), role=role, label_space=STREET7)[0] for role in ("source", "unseen"))
    assert [source.key(i) for i in range(len(source))] == ["a", "b"]
    assert [unseen.key(i) for i in range(len(unseen))] == ["c"]
    assert open_datasets(f"{root}:val", role="source", label_space=STREET7)[0].key(0) == "c"


def test_named_data_set_lies_in_data_root(write_dataset):
    root = write_dataset(name="airsim", split="val")
    (root / "dataset.yaml").unlink()
    reader = open_datasets("airsim:val", role="source", label_space=STREET7, data_root=root.parent)[0]
    assert (reader.name, reader.domain, len(reader)) == ("airsim:val", "airsim", 2)


@pytest.mark.parametrize("name", sorted(named_datasets().keys() - {"ade20k", "airsim"}))
def test_every_street_data_set_fits_every_street_space(name):
    for space in ("street7", "cityscapes16", "cityscapes19"):
        for form in named_datasets()[name]:
            lookup = form.lookup(label_space(space))
            assert (lookup[list(form.classes)] >= 0).all()
            assert {0, 1, 2} <= set(lookup[list(form.classes)])  # road, sidewalk and building, in all of them


def test_path_with_a_colon(write_dataset):
    root = write_dataset(name="c:val")
    assert len(open_datasets(str(root), role="source", label_space=STREET7)[0]) == 2


def test_missing_places(write_dataset, tmp_path):
    with pytest.raises(DataError, match=r"folder .*camvid is missing; put data set 'camvid' there or set `data_root`"):
        open_datasets("camvid", role="unseen", label_space=STREET7, data_root=tmp_path)
    with pytest.raises(ConfigError, match="data set 'camvid' needs `data_root`"):
        open_datasets("camvid", role="unseen", label_space=STREET7)
    with pytest.raises(DataError, match=r"folder .*nowhere is missing; expected images/, labels/ and dataset.yaml"):
        open_datasets(f"{tmp_path}/nowhere:val", role="unseen", label_space=STREET7)
    root = write_dataset()
    (root / "dataset.yaml").unlink()
    shutil.rmtree(root / "labels")
    with pytest.raises(DataError, match=r"dataset\.yaml is missing; write one with the class of every id.* \(nor is"):
        open_datasets(str(root), role="source", label_space=STREET7)


def test_unknown_name_offers_the_closest():
    with pytest.raises(ConfigError, match=r"unknown data set 'camvit'; did you mean 'camvid'.* dataset\.yaml"):
        open_datasets("camvit:val", role="source", label_space=STREET7)


def test_path_is_taken_as_written(write_dataset, monkeypatch):
    root = write_dataset()
    shutil.move(root, root.parent / "here")
    monkeypatch.chdir(root.parent)
    assert open_datasets("here", role="source", label_space=STREET7)[0].domain == "here"
