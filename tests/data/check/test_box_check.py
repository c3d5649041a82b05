"""The check of data sets of boxes: every fault that is planted is found, and all of them at once."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from minorkey.cli.data import data
from minorkey.data.readers import open_datasets
from minorkey.data.records import read_records
from minorkey.datacheck import Check, check
from minorkey.datacheck.page import write_check
from minorkey.datacheck.pictures import pictures
from minorkey.labels import label_space
from minorkey.tasks.detection.task import Detection

OPTIONS = {"task": "detection", "label_space": "carla5"}
SPACE = label_space("carla5")
Boxes = Mapping[str, Sequence[tuple[object, ...]]]

TRAIN: Boxes = {  # key -> x, y, width, height, category and, where it is one, crowd
    "a": [(2, 2, 20, 10, "car"), (30, 5, 8, 9, "bike"), (0, 0, 48, 5, "car", 1)],
    "b": [],
    "c": [(40, 20, 3, 8, "traffic light"), (5, 5, 3.5, 20, "car"), (-1, 4, 20, 30, "car")],
}
VAL: Boxes = {"d": [(2, 2, 20, 10, "traffic sign")]}


@pytest.fixture
def write_coco(tmp_path: Path) -> Callable[..., Path]:
    """Write a data set of boxes in COCO's form, images of 48x32."""

    def write(**splits: Boxes) -> Path:
        root = tmp_path / "town"
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        for split, boxes in splits.items():
            (root / "images" / split).mkdir(parents=True, exist_ok=True)
            for key in boxes:
                pixels = np.random.default_rng(len(key)).integers(0, 256, (32, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / "images" / split / f"{key}.png")
            (root / "annotations" / f"{split}.json").write_text(json.dumps(coco(boxes)))
        (root / "dataset.yaml").write_text("boxes: coco\n")
        return root

    return write


def coco(boxes: Boxes) -> dict[str, object]:
    names = sorted({row[4] for rows in boxes.values() for row in rows})
    ids = {name: place + 1 for place, name in enumerate(names)}
    images = [{"id": n, "file_name": f"{key}.png", "width": 48, "height": 32} for n, key in enumerate(boxes)]
    annotations = [
        {"image_id": image, "category_id": ids[row[4]], "bbox": row[:4], "iscrowd": int(len(row) > 5)}
        for image, rows in enumerate(boxes.values())
        for row in rows
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": ids[n], "name": n} for n in names]}


def look(root: Path, **changes: object) -> Check:
    return check(str(root), {**OPTIONS, **changes})[0]


def test_sound_data(write_coco):
    root = write_coco(train=TRAIN, val=VAL)
    found = look(root)
    assert found.all_problems == []
    train, val = found.data
    assert (train.name, train.images, train.sizes, train.unlabelled) == (f"{root}:train", 3, {"48x32": 3}, 0)
    assert train.counts == {"vehicle": 3, "bike": 1, "motorcycle": 0, "traffic light": 1, "traffic sign": 0}
    assert train.frequencies["vehicle"] == pytest.approx(3 / 5)
    assert train.images_with == {"vehicle": 2, "bike": 1, "motorcycle": 0, "traffic light": 1, "traffic sign": 0}
    assert (train.empty, train.crowd, train.tiny) == (["b"], 1, {"c": 2})
    assert val.counts["traffic sign"] == 1
    assert f"{root}:train: 1 of 3 images have no boxes: b" in found.warnings
    assert f"{root}:train: 2 of 5 boxes have a side below 4 pixels: c" in found.warnings
    assert f"{root}:train: 1 crowd boxes are neither trained nor judged on" in found.warnings
    assert "classes that occur nowhere: motorcycle" in found.warnings


def test_boxes_over_the_edge_are_said_unless_by_rounding(write_coco):
    over = [(-3, 2, 20, 10, "car"), (2, 20, 20, 15, "car"), (2, 2, 46.5, 10, "car"), (2, 2, 20, 10, "car")]
    found = look(write_coco(train={"over": over, "rounded": over[2:]}))
    assert found.all_problems == []
    assert found.data[0].cut == {"over": 2}
    assert any(
        line.endswith("2 boxes reach over the edge of their image and are clipped to it: over")
        for line in found.warnings
    )


def test_every_planted_fault_is_found_in_one_go(write_coco):
    boxes = {
        "fine": [(2, 2, 20, 10, "car")],
        "nan": [(2, float("nan"), 20, 10, "car")],
        "inverted": [(20, 2, -5, 10, "car"), (20, 20, 5, -1, "car")],
        "empty": [(20, 2, 0, 10, "car")],
        "outside": [(48, 2, 4, 4, "car")],
        "broken": [(2, 2, 20, 10, "car")],
    }
    root = write_coco(train=boxes)
    (root / "images" / "train" / "broken.png").write_bytes(b"no image")
    found = look(root)
    (train,) = found.data
    assert len(train.problems) == 5
    for key, text in [
        ("nan", "is not finite"),
        ("inverted", "is inverted"),
        ("inverted", "1 more"),
        ("empty", "is empty"),
        ("outside", "is outside in an image of 48x32"),
        ("broken", "broken image"),
    ]:
        assert any(f"{key}.png" in line and text in line for line in train.problems), (key, text)
    assert train.counts["vehicle"] == 1


def test_unknown_classes_and_missing_images(write_coco):
    root = write_coco(train={"a": [(2, 2, 20, 10, "dragon")]}, val=VAL | {"e": []})
    (root / "images" / "val" / "e.png").unlink()
    found = look(root)
    assert [each.name for each in found.data] == [f"{root}:val"]
    assert ["no place for 'dragon'" in line for line in found.all_problems] == [True]
    assert any("'e.png' is left out" in line for line in found.warnings)


def test_cache_keeps_boxes_and_labels_apart(write_coco, tmp_path):
    root, cache = write_coco(train=TRAIN), tmp_path / "cache"
    (reader,) = open_datasets(str(root), role="source", label_space=SPACE, annotation="boxes")
    first = list(read_records(reader, SPACE, task=Detection(), cache=cache))
    assert first[2].tiny == 2
    assert list(read_records(reader, SPACE, task=Detection(), cache=cache)) == first
    assert [record.counts for record in read_records(reader, SPACE, cache=cache)] == [None] * 3
    (root / "annotations" / "train.json").write_text(json.dumps(coco({**TRAIN, "b": [(0, 0, 9, 9, "car")]})))
    (changed,) = open_datasets(str(root), role="source", label_space=SPACE, annotation="boxes")
    assert sum(next(iter(read_records(changed, SPACE, task=Detection(), cache=cache, indices=[1]))).counts) == 1


def test_pictures_show_boxes(write_coco):
    (reader,) = open_datasets(str(write_coco(train=TRAIN)), role="source", label_space=SPACE, annotation="boxes")
    framed = list(pictures(reader, SPACE, Detection(), 3))
    assert [picture.key for picture in framed] == ["a", "b", "c"]
    assert [picture.overlay == picture.image for picture in framed] == [False, True, False]


def test_page_and_command(write_coco, tmp_path):
    root = write_coco(train={**TRAIN, "bad": [(2, 2, 0, 3, "car")]}, val=VAL)
    text = write_check(*check(str(root), OPTIONS), tmp_path / "page").read_text()
    assert text.count("<img") == 3 + 1  # one cannot be read
    assert "3 tiny" not in text
    assert "2 tiny, 1 clipped, 1 crowd" in text
    assert "Ignored" not in text
    arguments = ["check", str(root), "task=detection", "label_space=carla5", "--workers", "0"]
    result = CliRunner().invoke(data, arguments, env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert "is empty in an image of 48x32" in result.output
    assert "1 problem would stop a training" in result.output


def test_the_world_has_boxes_too():
    found = check("world:night", {**OPTIONS, "label_space": "cityscapes19"}, images=2)[0]
    assert found.all_problems == []
    assert sum(found.data[0].counts.values()) > 0


def test_a_cut_file_of_one_split(write_coco):
    root = write_coco(train=TRAIN, val=VAL)
    file = root / "annotations" / "train.json"
    file.write_text(file.read_text()[:-20])
    found = check(str(root), OPTIONS)[0]
    assert [f"{file}: broken JSON" in line for line in found.all_problems] == [True]
    file.unlink()
    assert ["no annotations of split 'train'" in line for line in check(str(root), OPTIONS)[0].all_problems] == [True]


def test_own_classes_of_boxes(write_coco):
    root = write_coco(train=TRAIN, val=VAL)
    (root / "dataset.yaml").write_text("boxes: coco\nignores: [traffic light]\ncrowds: {vehicle: [bike]}\n")
    train = check(str(root), {**OPTIONS, "label_space": "carla5"})[0].data[0]
    own = {each.name: (each.becomes, each.count) for each in train.own}
    assert own["traffic light"] == ("ignored", 1)
    assert own["car"][1] == 4
