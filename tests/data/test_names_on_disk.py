"""File names as they travel between systems, and text files as editors leave them."""

import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minorkey.data.readers import choose, open_datasets
from minorkey.errors import DataError
from minorkey.labels import label_space

NAME = "Straße_Ü"
SPACE, BOXES = label_space("road, car"), label_space("weather7")


def picture(file: Path, value: int = 90) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((24, 32, 3), value, np.uint8)).save(file, format="PNG")


def labels(file: Path, value: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((24, 32), value, np.uint8)).save(file, format="PNG")


def keys(reader) -> list[str]:
    return [reader.key(index) for index in range(len(reader))]


def form(kind: str, name: str = NAME) -> str:
    return unicodedata.normalize(kind, name)


@pytest.mark.parametrize("kinds", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_two_forms_of_unicode(tmp_path, kinds):
    """In file names, folders, patterns, the name of a split and a list of keys."""
    one, other = kinds
    picture(tmp_path / form(one, "Größe") / "é" / f"{form(one)}.png")
    labels(tmp_path / "labels" / form(other, "é") / f"{form(other)}.png", 1)
    images = form(other, "Größe/{split}/{key}.png")
    (tmp_path / "dataset.yaml").write_text(f"ids: {{0: road, 1: car}}\nimages: {images}\n", encoding="utf-8")
    for split in (form("NFC", "é"), form("NFD", "é")):
        (reader,) = open_datasets(f"{tmp_path}:{split}", role="source", label_space=SPACE)
        assert keys(reader) == [form("NFC")]
        assert (reader[0].labels == 1).all()
    (tmp_path / "list.txt").write_text(f"\ufeff{form(other)}\r\n", encoding="utf-8")
    assert len(choose(reader, files=tmp_path / "list.txt")) == 1


def test_two_files_of_one_name(tmp_path):
    for kind in ("NFC", "NFD"):
        picture(tmp_path / "images/train" / f"{form(kind)}.png")
    (tmp_path / "dataset.yaml").write_text("ids: {0: road}\n")
    with pytest.raises(DataError, match="two files are named .*, in two forms of Unicode"):
        open_datasets(str(tmp_path), role="source", label_space=SPACE)


def test_a_member_of_an_archive_in_the_other_form(tmp_path):
    picture(tmp_path / "images/train" / f"{form('NFC')}.png")
    labels(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as archive:
        archive.write(tmp_path / "a.png", f"train/{form('NFD')}.png")
    (tmp_path / "dataset.yaml").write_text("ids: {0: road}\n")
    (reader,) = open_datasets(str(tmp_path), role="source", label_space=SPACE)
    assert (reader[0].labels == 0).all()


def test_suffixes_in_capitals(tmp_path):
    picture(tmp_path / "images/train/A.PNG")
    labels(tmp_path / "labels/train/A_ids.Png")
    text = "ids: {0: road}\nimages: images/{split}/{key}.png\nlabels: labels/{split}/{key}_ids.png\n"
    (tmp_path / "dataset.yaml").write_text(text)
    (reader,) = open_datasets(str(tmp_path), role="source", label_space=SPACE)
    assert keys(reader) == ["A"]
    picture(tmp_path / "images/train/A.png")
    with pytest.raises(DataError, match="share the name 'A'; keep one of them"):
        open_datasets(str(tmp_path), role="source", label_space=SPACE)


def test_a_circle_of_links(tmp_path):
    picture(tmp_path / "images/train/a.png")
    picture(tmp_path / "images/val/b.png")
    labels(tmp_path / "labels/train/a.png")
    (tmp_path / "images/train/loop").symlink_to("..")
    (tmp_path / "images/train/self").symlink_to(".")
    (tmp_path / "dataset.yaml").write_text("ids: {0: road}\n")
    for role in ("source", "target"):
        assert keys(open_datasets(str(tmp_path), role=role, label_space=SPACE)[0]) == ["a"]
    (bare,) = open_datasets(str(tmp_path / "images/train"), role="target", label_space=None)
    assert keys(bare) == ["a"]


def test_a_split_that_is_a_link(tmp_path):
    picture(tmp_path / "disk/a.png")
    labels(tmp_path / "set/labels/train/a.png")
    (tmp_path / "set/images").mkdir()
    (tmp_path / "set/images/train").symlink_to(tmp_path / "disk")
    (tmp_path / "set/dataset.yaml").write_text("ids: {0: road}\n")
    assert keys(open_datasets(str(tmp_path / "set"), role="source", label_space=SPACE)[0]) == ["a"]


def voc(root: Path, names: tuple[str, ...], lines: bytes) -> Path:
    for name in names:
        picture(root / "JPEGImages" / f"{name}.png")
        (root / "Annotations").mkdir(exist_ok=True)
        (root / "Annotations" / f"{name}.XML").write_text("<annotation/>")
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_bytes(lines)
    (root / "dataset.yaml").write_text("boxes: voc\nclasses: [car]\n")
    return root


@pytest.mark.parametrize(
    ("names", "lines", "expected"),
    [
        (("a", "b c"), b"b c\r\n", ["b c"]),
        (("a", "b c"), b"\xef\xbb\xbfa\nb c\n", ["a", "b c"]),
        (("b", "b c"), b"b c\n", ["b c"]),
        (("a", "b c"), b"a -1\nb c  1\n", ["a", "b c"]),
        (("a",), "a\n".encode("utf-16"), ["a"]),
        ((form("NFD"),), form("NFC").encode(), [form("NFC")]),
    ],
)
def test_names_in_lists(tmp_path, names, lines, expected):
    root = voc(tmp_path, names, lines)
    assert keys(open_datasets(str(root), role="source", label_space=BOXES, annotation="boxes")[0]) == expected


@pytest.mark.parametrize(
    ("names", "lines", "message"),
    [
        (("b", "b 1"), b"b 1\n", r"train\.txt: line 1 may name 'b 1' or 'b'; rename one of these images"),
        (("b",), b"c d\n", r"image 'c d' of split 'train' is missing"),
        (("b",), b"b\n\xe4\n", r"train\.txt: line 2 is not UTF-8; save the file in that encoding"),
    ],
)
def test_lists_that_are_not_clear(tmp_path, names, lines, message):
    with pytest.raises(DataError, match=message):
        open_datasets(str(voc(tmp_path, names, lines)), role="source", label_space=BOXES, annotation="boxes")


def test_marks_before_boxes(tmp_path):
    picture(tmp_path / "images/train/a.png")
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.TXT").write_bytes(b"\xef\xbb\xbf0 0.5 0.5 0.25 0.5\r\n0.0 0.5 0.5 0.5 0.5\r\n")
    (tmp_path / "dataset.yaml").write_bytes(b"\xef\xbb\xbfboxes: yolo\nclasses: [car ]\n")
    sample = open_datasets(str(tmp_path), role="source", label_space=BOXES, annotation="boxes")[0][0]
    assert sample.boxes.tolist() == [[12, 6, 20, 18], [8, 6, 24, 18]]
