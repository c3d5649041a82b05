"""Boxes of a user's own, and what may be wrong with them: one line that names the file and the object."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import write_loose
from published_boxes import bdd, box2d, coco, jpg, kitti, png, voc

from minorkey.data.readers import Reader, open_datasets
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space

CAR = {"image_id": 1, "category_id": 1}


def open_own(root: Path, role: str = "source", space: str = "weather7") -> Reader:
    return open_datasets(str(root), role=role, label_space=label_space(space), annotation="boxes")[0]


def write(root: Path, dataset: str, **files: bytes) -> Path:
    """`__` in a name is a slash, `_DOT_` a dot."""
    named = {name.replace("__", "/").replace("_DOT_", "."): content for name, content in files.items()}
    write_loose({"dataset.yaml": dataset.encode(), **named}, root)
    return root


def write_coco(root: Path, annotations: list[dict[str, Any]], **more: bytes) -> Path:
    files = {
        "images__train__a_DOT_jpg": jpg(),
        "annotations__train_DOT_json": coco({1: "a.jpg"}, {1: "car"}, annotations),
    }
    return write(root, "boxes: coco", **(files | more))


def write_voc(root: Path, annotation: bytes) -> Path:
    return write(
        root,
        "boxes: voc\nclasses: [car, truck, tree]\nignores: [tree]",
        JPEGImages__a_DOT_jpg=jpg(),
        Annotations__a_DOT_xml=annotation,
        ImageSets__Main__train_DOT_txt=b"a\n",
    )


def write_yolo(root: Path, lines: str) -> Path:
    return write(
        root,
        "boxes: yolo\nclasses: {0: car, 3: person}",
        images__train__a_DOT_png=png(),
        labels__train__a_DOT_txt=lines.encode(),
        images__train__b_DOT_png=png(),
    )


def test_yolo(tmp_path):
    reader = open_own(write_yolo(tmp_path / "mine", "3 0.5 0.5 0.25 1\n\n0 0.0 0.25 0.5 0.5\n"))
    a, b = reader[0], reader[1]
    assert (reader.domain, a.key, b.key) == ("mine", "a", "b")
    assert a.boxes.tolist() == [[3, 0, 5, 6], [0, 0, 2, 3]]
    assert a.box_classes.tolist() == [4, 2]
    assert (b.boxes.shape, b.box_classes.shape, b.crowd.shape) == ((0, 4), (0,), (0,))
    assert reader.notes == ("image 'b' of split 'train' has no file of boxes: it counts as without objects",)


def kitti_sample(folder, crowd):
    root = write(
        folder,
        "boxes: kitti\nclasses: [Car]\ncrowds: {any: [DontCare]}\nsplits: {train: training}",
        training__image_2__a_DOT_png=png(),
        training__label_2__a_DOT_txt=kitti(("Car", (0, 0, 4, 4)), ("DontCare", crowd)),
    )
    return open_own(root, space="kitti3")[0]


def test_kitti_of_a_user(tmp_path):
    sample = kitti_sample(tmp_path, crowd=(1, 1, 2, 2))
    assert sample.box_classes.tolist() == [0, 0, 1, 2]
    assert sample.crowd.tolist() == [False, True, True, True]


def test_a_crowd_of_every_class_is_clipped_once(tmp_path):
    sample = kitti_sample(tmp_path, crowd=(4, 1, 12, 2))
    assert (sample.crowd.sum(), sample.cut) == (3, 1)


def test_folders_above_the_name_of_an_image(tmp_path):
    root = write_coco(tmp_path, [{**CAR, "bbox": [0, 0, 1, 1]}])
    write_loose({"annotations/train.json": coco({1: "data/images\\a.jpg"}, {1: "car"}, [])}, root)
    assert open_own(root).key(0) == "a"


def test_thousand_objects(tmp_path):
    boxes = np.random.default_rng(0).uniform(0, 3, (1000, 4)) + 0.01
    root = write_coco(tmp_path, [{**CAR, "bbox": box.tolist()} for box in boxes])
    sample = open_own(root)[0]
    expected = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    np.testing.assert_allclose(sample.boxes, expected.clip(0, [8, 6, 8, 6]), rtol=1e-6)


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ([float("nan"), 0, 1, 1], r"nan 0 nan 1 of 'car' is not finite"),
        ([0, 0, float("inf"), 1], r"0 0 inf 1 of 'car' is not finite"),
        ([2, 1, 0, 3], r"2 1 2 4 of 'car' is empty"),
        ([2, 1, 3, -1], r"2 1 5 0 of 'car' is inverted"),
        ([8, 0, 2, 2], r"8 0 10 2 of 'car' is outside in an image of 8x6"),
        ([-3, 0, 3, 2], r"-3 0 0 2 of 'car' is outside"),
    ],
)
def test_faulty_boxes(box, fault, tmp_path):
    good, bad = ({**CAR, "bbox": each} for each in ([0, 0, 1, 1], box))
    reader = open_own(write_coco(tmp_path, [good, bad, good, bad]))
    with pytest.raises(DataError, match=rf"train\.json: a\.jpg: annotation 2: box x0 y0 x1 y1 = {fault}") as caught:
        reader[0]
    assert str(caught.value).endswith("mend or remove it (and 1 more of this image)")
    assert "\n" not in str(caught.value)


def test_faulty_boxes_of_ignored_classes_do_not_matter(tmp_path):
    annotation = voc(("tree", (5, 5, 1, 1), 0), ("car", (1, 1, 2, 2), 0))
    assert open_own(write_voc(tmp_path, annotation))[0].boxes.tolist() == [[0, 0, 2, 2]]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (b"<annotation>", r"a\.xml: broken XML \(no element found: .*\); replace or remove the file"),
        (b"", r"a\.xml: broken XML"),
        (voc(("car", (1, 1, 2, 2), 0)).replace(b"<xmax>2</xmax>", b""), r"a\.xml: object 1 has no <xmax>; mend"),
        (voc(("car", (1, 1, 2, 2), 0)).replace(b"<name>car</name>", b""), r"a\.xml: object 1 has no <name>"),
        (b"<a><object><name>car</name></object></a>", r"a\.xml: object 1 has no <bndbox>"),
        (voc(("car", (1, 1, 2, 2), 0)).replace(b"<ymin>1<", b"<ymin>one<"), r"object 1: ymin is 'one', expected a num"),
        (voc(("car", (1, 1, 2, 2), 0), ("bus", (1, 1, 2, 2), 0)), r"a\.xml: object 2 is of class 'bus', which no map"),
    ],
)
def test_faulty_voc(annotation, message, tmp_path):
    reader = open_own(write_voc(tmp_path, annotation))
    with pytest.raises(DataError, match=message):
        reader[0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0 0.5 0.5 0.25\n", r"a\.txt: line 1 has 4 fields, expected 5"),
        ("\n0 0.5 0.5 x 1\n", r"a\.txt: line 2: width is 'x', expected a number"),
        ("1 0.5 0.5 0.25 1\n", r"a\.txt: line 1: unknown class id '1'.* Known: 0, 3; see `classes`"),
        ("0 1.5 0.5 0.25 1\n", r"a\.txt: line 1: box .* is outside in an image of 8x6"),
    ],
)
def test_faulty_yolo(lines, message, tmp_path):
    reader = open_own(write_yolo(tmp_path, lines))
    with pytest.raises(DataError, match=message):
        reader[0]


def test_yolo_without_any_file(tmp_path):
    root = write_yolo(tmp_path, "")
    (root / "labels/train/a.txt").unlink()
    with pytest.raises(
        DataError, match=r"image 'a' and 1 more of split 'train' without a label; expected labels/train/a"
    ):
        open_own(root)


def test_faulty_kitti(tmp_path):
    root = write(
        tmp_path,
        "boxes: kitti\nclasses: [car]",
        train__image_2__a_DOT_png=png(),
        train__label_2__a_DOT_txt=b"car 0 0 0 1 1 2\n",
    )
    with pytest.raises(DataError, match=r"a\.txt: line 1 has 7 fields, expected 15 as in KITTI"):
        open_own(root)[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"train\.json: broken JSON"),
        (b"[]", r"train\.json is not of COCO's form; expected lists `images`, `annotations`, `categories`"),
        (coco({1: "a.jpg"}, {1: "car"}, [{**CAR}]), r"train\.json: annotation 1 has no 'bbox'"),
        (coco({1: "a.jpg"}, {1: "car"}, [{**CAR, "bbox": [1, 2]}]), r"annotation 1: bbox is \[1, 2\], expected \[x, y"),
        (coco({1: "a.jpg"}, {1: "car"}, [{**CAR, "bbox": [1, 2, None, 1]}]), r"annotation 1: bbox is None, expected a"),
        (coco({1: "a.jpg"}, {1: "car"}, [{**CAR, "category_id": 7, "bbox": [0, 0, 1, 1]}]),
         r"annotation 1 has category 7, which is not among its `categories`"),
        (coco({1: "a.jpg"}, {1: "car"}, [{**CAR, "image_id": 9, "bbox": [0, 0, 1, 1]}]),
         r"annotation 1 is of image 9, which is not among its `images`"),
        (coco({1: "a.jpg", 2: "train/a.jpg"}, {1: "car"}, []), r"train\.json lists image 'a' twice"),
        (coco({1: "b.jpg", 2: "c.jpg"}, {1: "car"}, []), r"its image 'b\.jpg' and 1 more is not among those of split"),
        (json.dumps({"images": [{"id": 1}], "annotations": [], "categories": []}).encode(), r"has no 'file_name'"),
        (json.dumps({"images": [{"id": 1}] * 2, "annotations": [], "categories": []}).encode(), r"share an id"),
        (json.dumps({"images": [{"id": []}], "annotations": [], "categories": []}).encode(), r"id is \[\], expected"),
    ],
)  # fmt: skip
def test_faulty_coco(content, message, tmp_path):
    root = write_coco(tmp_path, [], annotations__train_DOT_json=content)
    with pytest.raises(DataError, match=message) as caught:
        open_own(root)
    assert "\n" not in str(caught.value)


def test_coco_and_its_folder_of_images_need_not_agree(tmp_path):
    listed = coco({1: "a.jpg", 2: "gone.jpg"}, {1: "car"}, [{**CAR, "image_id": 2, "bbox": [0, 0, 1, 1]}])
    root = write_coco(tmp_path, [], annotations__train_DOT_json=listed, images__train__b_DOT_jpg=jpg())
    reader = open_own(root)
    assert [reader.key(index) for index in range(len(reader))] == ["a"]
    assert reader[0].boxes.shape == (0, 4)
    missing, unlisted = reader.notes
    assert missing.endswith("train.json: its image 'gone.jpg' is left out: no such file")
    assert unlisted.startswith("image 'b' of split 'train' is left out: ")


def test_boxes_of_an_image_of_another_size(tmp_path):
    content = coco({1: "a.jpg"}, {1: "car"}, []).replace(b'"width": 8', b'"width": 16')
    reader = open_own(write_coco(tmp_path, [], annotations__train_DOT_json=content))
    with pytest.raises(
        DataError, match=r"a\.jpg: boxes in an image of 16x6 but .*train/a\.jpg is 8x6 \(width x height"
    ):
        reader[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", r"train\.json is not of BDD100K's form"),
        (b"[", r"train\.json: broken JSON"),
        (bdd(("a.jpg", [{"box2d": {}, "category": "car"}])), r"train\.json: a\.jpg: label 0 has no 'category', or its"),
        (bdd(("a.jpg", [box2d("car", (0, 0, None, 1))])), r"train\.json: a\.jpg: label 0: x2 is None, expected a numb"),
    ],
)
def test_faulty_bdd100k(content, message, tmp_path):
    files = {"images__100k__train__a_DOT_jpg": jpg(), "labels__det_20__det_train_DOT_json": content}
    with pytest.raises(DataError, match=message):
        open_own(write(tmp_path, "boxes: bdd100k\nclasses: [car]", **files))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("ids: [car]", r"dataset\.yaml says nothing of boxes; write in it how boxes are written, e\.g\. `boxes: coco`"),
        ("boxes: pascal", r"boxes: Input should be 'coco', "),
        ("boxes: voc", r"`boxes: voc` needs the names of its classes under `classes`"),
        ("boxes: coco\nclasses: [car]", r"`boxes: coco` says its classes itself; remove `classes`"),
        ("boxes: coco\nannotations: a/{key}.json", r"has a field \{key\}, but `coco` is one file for a split"),
        ("boxes: voc\nclasses: [car]\nannotations: a.xml", r"'a\.xml' has no field \{key\}"),
        ("boxes: voc\nclasses: [car]\nlists: a.txt", r"'a\.txt' has no field \{split\}"),
        ("boxes: coco\nlabel: a", r"unknown key 'label'"),
    ],
)
def test_wrong_dataset_yaml(dataset, message, tmp_path):
    with pytest.raises(ConfigError, match=message) as caught:
        open_own(write(tmp_path, dataset))
    assert "\n" not in str(caught.value)


def test_dataset_yaml_of_the_other_task(tmp_path):
    root = write_coco(tmp_path, [])
    with pytest.raises(ConfigError, match=r"dataset\.yaml is of boxes; choose `task: detection`"):
        open_datasets(str(root), role="source", label_space=label_space("street7"))
    (root / "dataset.yaml").unlink()
    shutil.rmtree(root / "annotations")
    with pytest.raises(DataError, match=r"dataset\.yaml is missing; write one with how boxes are written.* \(nor is"):
        open_own(root)
    assert open_own(root / "images", "target")[0].boxes is None
