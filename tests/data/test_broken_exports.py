"""Exports that are half there, contradict themselves or are damaged: one line, or no harm."""

import json
import random
import re
from contextlib import suppress
from pathlib import Path

import exported
import pytest
from exported.cases import CASES, Case, broken, opened

from minorkey.data.readers.exports import recognise
from minorkey.errors import DataError, MinorkeyError

TOKENS = [b"null", b"-1", b"1e999", b"[]", b'"x"', b"", b"99999999999999999999", b"\x00", b"\xff", b"..", b"{key}"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("drawn/of_a.png", "drawn/of_z.png", r"data\.csv, line 2: drawn/of_z\.png is missing"),
        ("drawn/of_b.png", "", r"data\.csv, line 3: camera.b\.jpg has no mask"),
        ("b.jpg,drawn/of_b", "a.jpg,drawn/of_b", r"line 3: 'camera/a' is there a second time, with another file"),
        ("Label,Split", "mask,mask", r"data\.csv has two columns of one name"),
        ("train,\n", "train,,,\n", r"data\.csv, line 2: it has more fields than columns"),
        ("train,\n", ",\n", r"data\.csv, line 2: it has no split, and other lines have one"),
    ],
)
def test_a_broken_table(old: str, new: str, message: str, tmp_path: Path) -> None:
    exported.table_of_masks(tmp_path)
    broken(tmp_path, "data.csv", old, new)
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("write", "file", "old", "new", "message"),
    [
        (
            exported.cvat_coco,
            "annotations/instances_val.json",
            '"categories"',
            '"kinds"',
            r"val\.json is not of COCO's form",
        ),
        (exported.cvat_coco, "annotations/instances_val.json", "}", "", r"instances_val\.json: broken JSON"),
        (
            exported.cvat_coco,
            "annotations/instances_train.json",
            ".jpg",
            "x.jpg",
            r"train\.json: its image 'ax\.jpg' and",
        ),
        (exported.ultralytics_seg, "data.yaml", "images/", "pictures/", r"data\.yaml: none of its splits is there"),
        (
            exported.cvat_yolo,
            "train.txt",
            "train/b.png",
            "val/z.png",
            r"data\.yaml: train\.txt and images/train have not the same images, e\.g\. 'b\.png'; it is the folder",
        ),
        (exported.roboflow_yolo, "data.yaml", "nc: 2", "nc: 3", r"data\.yaml: nc is 3, but 2 classes have names"),
        (
            exported.roboflow_yolo,
            "data.yaml",
            "train: ../train/images",
            "train: [train/images, test/images]",
            r"data\.yaml: split 'train' is in train/images and test/images; put its images into one folder",
        ),
        (
            exported.roboflow_yolo,
            "data.yaml",
            "valid/images",
            "gone/images",
            r"data\.yaml: split 'val' is '../gone/images', which is not there",
        ),
        (exported.roboflow_yolo, "data.yaml", "'car'", "yes", r"class True is no text; write it in quotes"),
        (
            exported.cvat_coco,
            "annotations/instances_val.json",
            ".jpg",
            "x.jpg",
            r"instances_val\.json: its image '\wx\.jpg' .* is nowhere below",
        ),
        (exported.roboflow_yolo, "data.yaml", "['car', 'road']", "car", r"data\.yaml: names is 'car', expected a list"),
        (exported.cvat_voc, "labelmap.txt", "250,50,83", "250,50", r"labelmap\.txt: line 3 is no `name:r,g,b::`"),
        (
            exported.roboflow_masks,
            "valid/_classes.csv",
            "road",
            "path",
            r"valid/_classes\.csv contradicts that of 'train'",
        ),
        (exported.roboflow_masks, "train/_classes.csv", ", car", "", r"_classes\.csv is no table `Pixel Value, Class`"),
        (exported.cvat_images, "annotations.xml", "</annotations>", "", r"annotations\.xml: broken XML"),
        (exported.supervisely, "meta.json", "title", "name", r"meta\.json names no `classes` with a `title`"),
        (exported.supervisely, "meta.json", "{", "", r"meta\.json: .*mend or replace the file"),
        (exported.labelimg_voc, "a.xml", "</annotation>", "", r"a\.xml: .*mend or remove it"),
    ],
)
def test_half_an_export(write, file: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    root = tmp_path / "streets"
    write(root)
    broken(root, file, old, new)
    for annotation in ("pixels", "boxes"):
        with pytest.raises(DataError, match=message) as caught:
            opened(root, "train", annotation)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("write", "file", "old", "new", "message"),
    [
        (exported.ultralytics_seg, "labels/train/a.txt", "0 0.1", "0.1", r"a\.txt: line 1 has 8 fields, expected 5"),
        (exported.ultralytics_seg, "labels/train/a.txt", "\n1 ", "\n5 ", r"a\.txt: line 2: unknown class id '5'"),
        (
            exported.cvat_images,
            "annotations.xml",
            "1.00,1.00;4.00,1.00;",
            "",
            r"xml: a\.jpg: shape 1: an outline of 4 num",
        ),
        (
            exported.cvat_images,
            "annotations.xml",
            'z_order="1"',
            'z_order="x"',
            r"shape 1: a <polygon> needs a `label`",
        ),
        (exported.labelme, "a.json", '"polygon"', '"spline"', r"a\.json: shape 2 is a 'spline'; expected a polygon"),
        (
            exported.supervisely,
            "train/ann/a.b.jpg.json",
            '"polygon"',
            '"cuboid"',
            r"object 2 is a 'cuboid'; expected a poly",
        ),
        (
            exported.supervisely,
            "train/ann/a.b.jpg.json",
            "[5, 3]",
            "[5, 3], [1, 1]",
            r"a rectangle has points \(3, 2\)",
        ),
        (
            exported.supervisely,
            "train/ann/a.b.jpg.json",
            '"classTitle": "car"',
            '"title": 1',
            r"object 2 has no `classTitle`",
        ),
        (exported.labelme, "a.json", '"points"', '"spots"', r"a\.json: shape 1 has no `label` or no `points`"),
        (
            exported.cvat_coco,
            "annotations/instances_train.json",
            "[3, 1",
            "[2, 1",
            r"annotation 2: the runs of its mask",
        ),
    ],
)
def test_a_broken_shape(write, file: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    root = tmp_path / "streets"
    write(root)
    broken(root, file, old, new)
    reader = opened(root, case_split(root))
    with pytest.raises(DataError, match=message) as caught:
        reader[0]
    assert "\n" not in str(caught.value)


def case_split(root: Path) -> str:
    return next(iter(recognise(root, "pixels").row["splits"]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.write.__name__)
def test_damage_is_one_line_or_does_no_harm(case: Case, tmp_path: Path) -> None:
    rng = random.Random(case.write.__name__)
    for trial in range(6):
        root = tmp_path / str(trial)
        case.write(root)
        told = {".json", ".xml", ".txt", ".yaml", ".csv"}
        files = sorted(file for file in root.rglob("*") if file.suffix in told) or sorted(root.rglob("*.png"))
        damage(rng.choice(files), rng)
        for annotation in ("pixels", "boxes"):
            assert all("\n" not in line for line in faults(root, case, annotation))


def faults(root: Path, case: Case, annotation: str) -> list[str]:
    """What reading a whole data set says; what is no error of ours is not caught."""
    lines = []
    for split in case.splits.split():
        with suppress(MinorkeyError):
            reader = opened(root, split, annotation)
            for index in range(len(reader)):
                try:
                    reader[index]
                except MinorkeyError as error:
                    lines.append(str(error))
    return lines


def damage(file: Path, rng: random.Random) -> None:
    """Put another value in the place of one, cut the file off, or change a byte."""
    content = file.read_bytes()
    values = [match.span() for match in re.finditer(rb'-?\d+\.?\d*|"[^"]*"|\[[^\[\]]*\]|>[^<]+<', content)]
    way = rng.randrange(4) if values and content else 3
    if way < 2:
        start, end = rng.choice(values)
        content = content[:start] + rng.choice(TOKENS) + content[end:]
    elif way == 2:
        content = content[: rng.randrange(len(content))]
    elif content:
        place = rng.randrange(len(content))
        content = content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]
    file.write_bytes(content)


def test_a_list_whose_folder_is_not_there_is_not_read(tmp_path: Path) -> None:
    exported.cvat_yolo(tmp_path)
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            for file in (tmp_path / kind / split).iterdir():
                file.rename(tmp_path / kind / f"{split}-{file.name}")
            (tmp_path / kind / split).rmdir()
    with pytest.raises(
        DataError, match=r"none of its splits is there, e\.g\. 'train\.txt'; .*list of images is not read"
    ):
        opened(tmp_path, "train")


def test_lists_of_images_that_are_not_read_are_said(tmp_path: Path) -> None:
    exported.label_studio_yolo(tmp_path)
    assert recognise(tmp_path, "boxes").why.endswith("beside the images")
    for split, key in (("train", "a"), ("valid", "b")):
        (tmp_path / f"{split}.txt").write_text(f"images/0c1-{key}.jpg\n")
    assert recognise(tmp_path, "boxes").why.endswith(
        "; train.txt, valid.txt: lists are not read, all images are one split"
    )


def test_a_split_that_lists_no_images_is_named(tmp_path: Path) -> None:
    exported.cvat_coco(tmp_path)
    file = tmp_path / "annotations" / "instances_val.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "images": [], "annotations": []}))
    with pytest.raises(DataError, match=r"instances_val\.json: it lists no images; list some, or remove the file$"):
        opened(tmp_path, "train")


def test_outlines_are_found_behind_many_images_that_show_nothing(tmp_path: Path) -> None:
    exported.cvat_yolo(tmp_path)
    for number in range(600):
        (tmp_path / "labels" / "train" / f"0-{number:03}.txt").write_text("")
        (tmp_path / "labels" / "train" / f"z-{number:03}.txt").write_bytes(
            (tmp_path / "labels/train/a.txt").read_bytes()
        )
    assert recognise(tmp_path, "pixels") is not None
