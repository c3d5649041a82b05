"""Annotations that contradict themselves are refused in one line, or read where there is one meaning."""

import json
from pathlib import Path
from typing import Any

import pytest
from published import write_loose
from published_boxes import jpg, voc

from minorkey.data.readers import Reader, open_datasets
from minorkey.data.readers.values import flag, number, side, whole
from minorkey.errors import ConfigError, DataError, MinorkeyError
from minorkey.labels import label_space

BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 3]}


def document(**changes: Any) -> dict[str, Any]:
    plain = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 6}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [BOX],
    }
    return plain | changes


def opened(root: Path, content: object, dataset: str = "boxes: coco") -> Reader:
    files = {"dataset.yaml": dataset.encode(), "images/train/a.jpg": jpg(), "images/train/b.jpg": jpg()}
    write_loose(files | {"annotations/train.json": json.dumps(content).encode()}, root)
    return open_datasets(str(root), role="source", label_space=label_space("weather7"), annotation="boxes")[0]


def image(**changes: Any) -> list[dict[str, Any]]:
    return [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 6} | changes]


@pytest.mark.parametrize(
    "content",
    [
        document(images=image(id=1.0)),
        document(annotations=[BOX | {"image_id": 1.0, "category_id": 1.0, "id": 1.0}]),
        document(images=image(id="x"), annotations=[BOX | {"image_id": "x"}]),
        document(categories=[{"id": 1, "name": "car "}]),
        document(categories=[{"id": 1, "name": " Car"}]),
        document(categories=[{"id": 0, "name": "car"}, {"id": 1, "name": "car"}]),
        document(images=image(width=-1, height=-1)),
        document(images=image(width=None, height=0)),
        document(images=image(width="8", height=6.0)),
        document(annotations=[BOX | {"bbox": ["1", 1.0, 4, 3]}]),
        document(annotations=[BOX | {"id": 1 << 70}]),
        *(document(annotations=[BOX | {"iscrowd": no}]) for no in (0, 0.0, False, None, "0", "false", "False")),
    ],
)
def test_one_meaning(tmp_path, content):
    sample = opened(tmp_path, content)[0]
    assert sample.boxes.tolist() == [[1, 1, 5, 4]]
    assert (label_space("weather7").classes[sample.box_classes[0]], sample.crowd.tolist()) == ("car", [False])


@pytest.mark.parametrize("yes", [1, 1.0, True, "1", "true"])
def test_crowds(tmp_path, yes):
    assert opened(tmp_path, document(annotations=[BOX | {"iscrowd": yes}]))[0].crowd.tolist() == [True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (document(categories=[{"id": 1, "name": "car"}, {"id": 1, "name": "bus"}]), "two of its `categories` share"),
        (document(categories=[{"id": 1, "name": "car"}, {"id": 1.0, "name": "car"}]), "two of its `categories` share"),
        (document(images=image() + image(file_name="b.jpg")), "two of its `images` share an id, 1"),
        (document(images=image() + image(id=2)), "lists image 'a' twice"),
        (document(annotations=[BOX, BOX]), "annotation 1 is listed twice"),
        (document(annotations=[BOX | {"iscrowd": "maybe"}]), "annotation 1: iscrowd is 'maybe', expected 0 or 1"),
        (document(annotations=[BOX | {"iscrowd": 2}]), "iscrowd is 2, expected 0 or 1"),
        (document(annotations=[BOX | {"iscrowd": float("nan")}]), "iscrowd is nan"),
        (document(annotations=[BOX | {"image_id": "1"}]), "is of image '1', which is not among its `images`"),
        (document(annotations=[BOX | {"category_id": 1.5}]), "category_id is 1.5, expected a whole number or text"),
        (document(annotations=[BOX | {"category_id": True}]), "category_id is True, expected a whole number"),
        (document(annotations=[BOX | {"bbox": [1, 1, True, 3]}]), "bbox is True, expected a number"),
        (document(annotations=[BOX | {"bbox": [1, 1, "1_0", 3]}]), "bbox is '1_0', expected a number"),
        (document(annotations=[BOX | {"bbox": [1, 1, 10**400, 3]}]), "bbox is 1000.*, expected a number"),
        (document(categories=[{"id": 1, "name": None}]), "name is None, expected text"),
        (document(images=image(file_name="")), "file_name is '', expected text"),
        (document(images=image(width=8.5)), "width is 8.5, expected a number of pixels"),
        (document(images=image(width=-8)), "width is -8, expected a number of pixels"),
        (document(images=image(width=float("nan"))), "width is nan, expected a number of pixels"),
        (document(images=image(width=1 << 40)), "expected a number of pixels"),
        (document(images=image(width="wide")), "width is 'wide', expected a number of pixels"),
    ],
)  # fmt: skip
def test_no_meaning(tmp_path, content, message):
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_mark_before_json(tmp_path):
    opened(tmp_path, document())
    (tmp_path / "annotations/train.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(document()).encode())
    (reader,) = open_datasets(str(tmp_path), role="source", label_space=label_space("weather7"), annotation="boxes")
    assert reader[0].boxes.tolist() == [[1, 1, 5, 4]]


def test_shared_ids_of_different_annotations_are_said(tmp_path):
    reader = opened(tmp_path, document(annotations=[BOX, BOX | {"bbox": [0, 0, 2, 2]}]))
    assert len(reader[0].boxes) == 2
    assert any("1 of 2 annotations have the id of another" in note for note in reader.notes)


def test_a_box_without_area_offers_what_leaves_it_out(tmp_path):
    content = document(annotations=[BOX | {"bbox": [1, 1, 0, 3]}])
    with pytest.raises(DataError, match=r"is empty in an image of 8x6 \(`drop_empty: true` in dataset\.yaml leaves"):
        opened(tmp_path, content)[0]
    assert opened(tmp_path, content, "boxes: coco\ndrop_empty: true")[0].boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"<difficult>0<", b"<difficult>perhaps<"), "object 1: difficult is 'perhaps', expected 0 or 1"),
        ((b"<name>car</name>", b"<name>car</name><name>truck</name>"), "object 1 has 2 <name>, expected one"),
        ((b"<xmin>1</xmin>", b"<xmin>1</xmin><xmin>3</xmin>"), "object 1 has 2 <xmin>, expected one"),
        ((b"<width>8<", b"<width>9<"), "boxes in an image of 9x6 but"),
        ((b"<object>", b"<size/><object>"), "has 2 <size>, expected one"),
        ((b"<width>8<", b"<width>-7<"), "width is '-7', expected a number of pixels"),
    ],
)
def test_voc(tmp_path, change, message):
    content = voc(("car", (1, 1, 2, 2), 0))
    assert change[0] in content
    files = {
        "dataset.yaml": b"boxes: voc\nclasses: [car, truck]",
        "JPEGImages/a.jpg": jpg(),
        "Annotations/a.xml": content.replace(*change, 1),
        "ImageSets/Main/train.txt": b"a\n",
    }
    write_loose(files, tmp_path)
    (reader,) = open_datasets(str(tmp_path), role="source", label_space=label_space("weather7"), annotation="boxes")
    with pytest.raises(DataError, match=message):
        reader[0]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("colours: {road: [1, 2, 3], car: [1, 2, 3]}", r"'road' and 'car' have one colour, \[1, 2, 3\]"),
        ("ids: {0: road, '0': car}", "0 and '0' are one id"),
        ("ids: {0: road}\nread_as: {road: [track], car: [track]}", "'track' is listed under 'road' and 'car'"),
    ],
)
def test_dataset_yaml(tmp_path, dataset, message):
    (tmp_path / "dataset.yaml").write_text(dataset)
    with pytest.raises(ConfigError, match=message):
        open_datasets(str(tmp_path), role="source", label_space=label_space("street7"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,category,file\na.jpg,cat,b.jpg\n", "two columns of one name"),
        ("file,category\na,b.jpg,cat\n", r"line 2: it has more fields than columns; quote names that hold a comma"),
        ("file,category\na.jpg,cat\na.jpg,dog\n", "is of 'cat' and 'dog'"),
    ],
)
def test_tables(tmp_path, table, message):
    write_loose({"labels.csv": b"\xef\xbb\xbf" + table.encode(), "a.jpg": jpg(), "b.jpg": jpg()}, tmp_path)
    with pytest.raises(MinorkeyError, match=message):
        open_datasets(str(tmp_path), role="source", label_space=label_space("cat, dog"), annotation="category")


def test_what_files_write_for_numbers():
    assert [whole(value) for value in (1, 1.0, "1", "1.0", "1e0", 1.5, True, "x", None, float("inf"))] == [
        *(1, 1, 1, 1, 1),
        *(None, None, None, None, None),
    ]
    assert [side(value, "width", "x") for value in (0, -1, None, "", "7")] == [0, 0, 0, 0, 7]
    assert number("2.5", "x", "x") == 2.5
    assert flag(" TRUE ", "x", "x")
