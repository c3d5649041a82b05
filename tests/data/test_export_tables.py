"""A table by hand or of another program, which names images and their masks."""

from pathlib import Path

import exported
import numpy as np
import pytest
from exported.cases import SPACE, opened

from minorkey.data.readers import open_datasets
from minorkey.data.readers.exports import recognise
from minorkey.errors import DataError


def test_a_table_with_a_split_without_masks(tmp_path: Path) -> None:
    exported.table_of_masks(tmp_path / "streets")
    found = recognise(tmp_path / "streets", "pixels")
    assert found.form == "a table of masks"
    assert found.row["unlabelled"] == ["test"]
    for split, count in {"train": 2, "val": 2, "test": 1}.items():
        reader = opened(tmp_path / "streets", split)
        assert len(reader) == count
        if split != "test":
            np.testing.assert_array_equal(reader[0].labels, exported.LABELS)
    assert opened(tmp_path / "streets", "test")[0].labels is None
    assert reader.key(0) == "camera/e"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "streets/", "{root}/"])
def test_a_table_as_other_programs_write_it(separator: str, start: str, tmp_path: Path) -> None:
    root = tmp_path / "streets"
    exported.table_of_masks(root)
    start = start.format(root=root.as_posix())
    text = (root / "data.csv").read_text(encoding="utf-8-sig")
    text = text.replace("camera", f"{start}camera").replace("drawn", f"{start}drawn")
    (root / "data.csv").write_text(text.replace(",", separator))
    assert recognise(root, "pixels").form == "a table of masks"
    assert [opened(root, "val").key(i) for i in range(2)] == ["camera/c", "camera/d"]


def test_a_table_names_domains(tmp_path: Path) -> None:
    exported.table_of_masks(tmp_path / "streets")
    file = tmp_path / "streets" / "data.csv"
    header, *rows = file.read_text(encoding="utf-8-sig").splitlines()
    lines = [f"{row}{'day' if number % 2 else 'night'}" for number, row in enumerate(rows)]
    file.write_text("\n".join([header.replace("note", "domain"), *lines]))
    readers = open_datasets(f"{tmp_path / 'streets'}:train", role="unseen", label_space=SPACE, annotation="pixels")
    assert {reader.domain: len(reader) for reader in readers} == {"streets-day": 1, "streets-night": 1}


def test_tables_of_splits_may_end_in_capitals(tmp_path: Path) -> None:
    root = tmp_path / "streets"
    exported.tables_of_splits(root)
    for name in ("train", "valid"):
        (root / f"{name}.csv").rename(root / f"{name}.CSV")
    assert [len(opened(root, split)) for split in ("train", "val")] == [2, 2]
    (root / "valid.CSV").rename(root / "valid.csv")
    with pytest.raises(DataError, match=r"tables end in .CSV and .csv; rename them alike"):
        recognise(root, "pixels")


def test_of_several_tables_none_is_taken_by_its_name(tmp_path: Path) -> None:
    root = tmp_path / "streets"
    exported.tables_of_splits(root)
    (root / "valid.csv").rename(root / "holdout.csv")
    with pytest.raises(DataError, match=r"tables holdout.csv, train.csv, of which not all are called as splits"):
        recognise(root, "pixels")
