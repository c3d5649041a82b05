"""What tools for labelling export, in the very form that they do, is read without a word about it."""

import json
import random
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import exported
import numpy as np
import pytest

from minorkey.data.readers import open_datasets
from minorkey.data.readers.exports import recognise
from minorkey.data.readers.shapes import supervisely
from minorkey.data.readers.shapes.shape import drawn
from minorkey.datacheck.guess import init_dataset
from minorkey.errors import ConfigError, DataError, MinorkeyError
from minorkey.labels import label_space

SPACE = label_space("background, car, road")
CLASSES = label_space("car, road")


class Case(NamedTuple):
    write: Callable[[Path], None]
    form: str
    splits: str  # those that there are
    images: int  # of each of them, the first
    kinds: str = "pixels boxes"


CASES = [
    Case(exported.cvat_coco, "COCO JSON", "train val", 2),
    Case(exported.roboflow_coco, "COCO JSON", "train val test", 2),
    Case(exported.label_studio_coco, "COCO JSON", "all", 2),
    Case(exported.published_coco, "COCO JSON", "train val", 2),
    Case(exported.ultralytics_seg, "YOLO", "train val", 2),
    Case(exported.roboflow_yolo, "YOLO", "train val test", 2, "boxes"),
    Case(exported.cvat_yolo, "YOLO", "train val", 2),
    Case(exported.label_studio_yolo, "YOLO", "all", 2, "boxes"),
    Case(exported.cvat_voc, "Pascal VOC", "train val", 2, "pixels"),
    Case(exported.labelme_voc, "Pascal VOC", "all", 2, "pixels"),
    Case(exported.roboflow_voc, "Pascal VOC", "train val", 2, "boxes"),
    Case(exported.labelimg_voc, "Pascal VOC", "all", 2, "boxes"),
    Case(exported.roboflow_masks, "Roboflow masks", "train val", 2, "pixels"),
    Case(exported.mmsegmentation, "label images", "train val", 2, "pixels"),
    Case(exported.tables_of_splits, "a table of masks", "train val", 2, "pixels"),
    Case(exported.cvat_images, "CVAT for images", "train val", 2),
    Case(exported.labelme, "Labelme", "all", 2),
    Case(exported.supervisely, "Supervisely", "train val", 2),
]


@pytest.fixture(params=CASES, ids=lambda case: case.write.__name__)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def opened(root: Path, split: str, annotation: str = "pixels"):
    space = SPACE if annotation == "pixels" else CLASSES
    return open_datasets(f"{root}:{split}", role="unseen", label_space=space, annotation=annotation)[0]


def test_masks_are_those_of_the_scene(case: Case, tmp_path: Path) -> None:
    root = tmp_path / "streets"
    case.write(root)
    if "pixels" not in case.kinds:
        with pytest.raises(ConfigError, match=r"streets has boxes, and no pixels; set task=detection$"):
            opened(root, "all")
        return
    found = recognise(root, "pixels")
    assert (found.form, " ".join(found.row["splits"])) == (case.form, case.splits)
    for split in case.splits.split():
        reader = opened(root, split)
        assert reader.domain == "streets"
        for index in range(len(reader)):
            np.testing.assert_array_equal(reader[index].labels, exported.LABELS)
        assert split != case.splits.split()[0] or len(reader) == case.images


def test_boxes_are_those_of_the_scene(case: Case, tmp_path: Path) -> None:
    root = tmp_path / "streets"
    case.write(root)
    if "boxes" not in case.kinds:
        with pytest.raises(ConfigError, match=r"streets has pixels, and no boxes; set task=segmentation$"):
            opened(root, "all", "boxes")
        return
    found = recognise(root, "boxes")
    assert (found.form, " ".join(found.row["splits"])) == (case.form, case.splits)
    for split in case.splits.split():
        reader = opened(root, split, "boxes")
        for index in range(len(reader)):
            sample = reader[index]
            names = [CLASSES.classes[number] for number in sample.box_classes]
            seen = dict(zip(names, sample.boxes.tolist(), strict=True))
            assert seen["car"] == pytest.approx(exported.BOXES["car"], abs=1e-4)
            assert seen["road"] == pytest.approx(exported.BOXES["road"], abs=1e-4)


def test_published_voc(tmp_path: Path) -> None:
    exported.published_voc(tmp_path / "voc")
    space = label_space("background, " + ", ".join(label_space("voc20").classes))
    (reader,) = open_datasets(str(tmp_path / "voc"), role="source", label_space=space)
    expected = np.where(exported.LABELS == 1, 7, 0)
    expected[0, 0] = 255
    assert reader.key(0) == "2007_00000a"
    np.testing.assert_array_equal(reader[0].labels, expected)
    boxes = open_datasets(str(tmp_path / "voc"), role="unseen", label_space=label_space("car, bus"), annotation="boxes")
    assert boxes[0].name.endswith(":val")
    assert boxes[0][0].boxes.tolist() == [[1, 1, 4, 3], [0, 3, 6, 4]]


def test_the_data_sets_of_a_project_are_domains(tmp_path: Path) -> None:
    exported.supervisely(tmp_path / "streets")
    for split, place in {"train": "north", "val": "south"}.items():
        (tmp_path / "streets" / split).rename(tmp_path / "streets" / place)
    (tmp_path / "streets" / "north" / "img" / "c.jpg").rename(tmp_path / "streets" / "north" / "img" / "c.png")
    (tmp_path / "streets" / "north" / "ann" / "c.jpg.json").rename(
        tmp_path / "streets" / "north" / "ann" / "c.png.json"
    )
    readers = open_datasets(f"{tmp_path / 'streets'}:all", role="unseen", label_space=SPACE, annotation="pixels")
    assert {reader.domain: len(reader) for reader in readers} == {"streets-north": 2, "streets-south": 2}
    for reader in readers:
        np.testing.assert_array_equal(reader[0].labels, exported.LABELS)


def test_a_polygon_with_holes() -> None:
    square = [[0, 0], [6, 0], [6, 4], [0, 4]]
    holes = [[[1, 1], [2, 1], [2, 3], [1, 3]], [[4, 1], [4, 2], [5, 2], [5, 1]]]
    points = {"exterior": square, "interior": holes}
    content = {"objects": [{"classTitle": "car", "geometryType": "polygon", "points": points}]}
    shapes, said = supervisely.read_supervisely(json.dumps(content).encode(), "a.json")
    expected = np.ones((4, 6))
    expected[1:3, 1] = expected[1, 4] = 0
    np.testing.assert_array_equal(drawn(shapes, {"car": 1}, 0, (6, 4)), expected)
    assert said == (0, 0)


def test_a_bitmap_that_unpacks_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported.supervisely(tmp_path)
    monkeypatch.setattr(supervisely, "LARGEST", 20)
    with pytest.raises(DataError, match=r"c\.jpg\.json: object 2: its bitmap is larger than 20 bytes"):
        opened(tmp_path, "train")[1]


def test_plain_masks(tmp_path: Path) -> None:
    exported.plain_masks(tmp_path / "cracks")
    (reader,) = open_datasets(
        str(tmp_path / "cracks"), role="source", label_space=label_space("background, foreground")
    )
    np.testing.assert_array_equal(reader[0].labels, exported.LABELS == 1)


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


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("drawn/of_a.png", "drawn/of_z.png", r"data\.csv, line 2: drawn/of_z\.png is missing"),
        ("drawn/of_b.png", "", r"data\.csv, line 3: camera.b\.jpg has no mask"),
        ("b.jpg,drawn/of_b", "a.jpg,drawn/of_b", r"line 3: 'camera/a' is there a second time, with another file"),
        ("Label,Split", "mask,mask", r"data\.csv has two columns of one name"),
        ("train,\n", "train,,,\n", r"data\.csv, line 2: it has more fields than columns"),
    ],
)
def test_a_broken_table(old: str, new: str, message: str, tmp_path: Path) -> None:
    exported.table_of_masks(tmp_path)
    broken(tmp_path, "data.csv", old, new)
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, "train")
    assert "\n" not in str(caught.value)


def broken(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    path.write_text(path.read_text().replace(old, new))


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
        (exported.roboflow_yolo, "data.yaml", "nc: 2", "nc: 3", r"data\.yaml: nc is 3, but 2 classes have names"),
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


def test_two_exports_in_one_folder(tmp_path: Path) -> None:
    exported.cvat_coco(tmp_path)
    exported.ultralytics_seg(tmp_path)
    with pytest.raises(
        DataError, match=r"is COCO JSON \(.*\) and YOLO \(.*\); move one of them out, or say in dataset"
    ):
        opened(tmp_path, "train")
    (tmp_path / "dataset.yaml").write_text(
        "encoding: coco\nlabels: 'annotations/instances_{split}.json'\nids: [background, car, road]\n"
    )
    np.testing.assert_array_equal(opened(tmp_path, "train")[0].labels, exported.LABELS)


def test_one_split_under_two_names(tmp_path: Path) -> None:
    exported.roboflow_masks(tmp_path)
    (tmp_path / "valid").rename(tmp_path / "dev")
    assert len(opened(tmp_path, "val")) == 2
    exported.roboflow_masks(tmp_path)
    with pytest.raises(DataError, match=r" has 'dev' and 'valid', which are one split; rename one of them"):
        opened(tmp_path, "val")


def test_a_target_is_the_images_of_an_export(tmp_path: Path) -> None:
    exported.plain_masks(tmp_path)
    (reader,) = open_datasets(str(tmp_path), role="target", label_space=SPACE)
    assert [reader.key(index) for index in range(len(reader))] == ["a", "b"]
    assert reader[0].labels is None


def test_shapes_need_a_background(tmp_path: Path) -> None:
    exported.cvat_coco(tmp_path)
    (tmp_path / "dataset.yaml").write_text("encoding: coco\nlabels: annotations/{split}.json\nids: [car, road]\n")
    with pytest.raises(ConfigError, match="needs a class `background` among its `ids`: what no shape covers"):
        opened(tmp_path, "train")


def test_yolo_may_call_its_file_as_ours(tmp_path: Path) -> None:
    exported.ultralytics_seg(tmp_path)
    (tmp_path / "data.yaml").rename(tmp_path / "dataset.yaml")
    np.testing.assert_array_equal(opened(tmp_path, "val")[1].labels, exported.LABELS)


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    exported.labelme(tmp_path)
    assert opened(tmp_path, "all")[0].labels.max() == 2
    broken(tmp_path, "a.json", '"road"', '"bus"')
    with pytest.raises(ConfigError, match="has no place for 'bus'"):
        opened(tmp_path, "all")


def test_painted_masks_without_a_word_on_their_colours(tmp_path: Path) -> None:
    exported.photo(tmp_path / "images" / "a.png")
    exported.painted_png(tmp_path / "masks" / "a.png")
    with pytest.raises(
        DataError, match=r"a\.png: label image has mode RGB.* \(no file beside says the classes: looked"
    ):
        opened(tmp_path, "all")
    exported.text(tmp_path / "class_dict.csv", "name,r,g,b\nroad,51,221,255\ncar,250,50,83\nbackground,0,0,0\n")
    np.testing.assert_array_equal(opened(tmp_path, "all")[0].labels, exported.LABELS)


def test_an_export_in_its_archive(tmp_path: Path) -> None:
    exported.roboflow_coco(tmp_path / "written" / "streets")
    folder = tmp_path / "streets"
    folder.mkdir()
    shutil.make_archive(str(folder / "streets.v1"), "zip", tmp_path / "written")
    found = recognise(folder, "pixels")
    assert found.row["labels"] == "streets/{split}/_annotations.coco.json"
    np.testing.assert_array_equal(opened(folder, "val")[1].labels, exported.LABELS)
    assert len(opened(folder, "test", "boxes")[0].boxes) == 2


def test_classes_are_those_that_the_export_names(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    for annotation, names in (("pixels", ("background", "car", "road")), ("boxes", ("car", "road"))):
        if annotation in case.kinds:
            (reader,) = open_datasets(
                f"{tmp_path}:{case.splits.split()[0]}", role="unseen", label_space=None, annotation=annotation
            )
            found = reader.categories
            assert found in (names, ("_background_", *names[1:]))
            assert found == names or case.write is exported.labelme_voc


def test_what_is_read_can_be_written_down(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    for annotation, task in (("pixels", "segmentation"), ("boxes", "detection")):
        if annotation not in case.kinds or case.form == "label images":  # of which `data init` looks at all
            continue
        read = recognise(tmp_path, annotation)
        init_dataset(tmp_path, task=task)
        split = case.splits.split()[0]
        reader = opened(tmp_path, split, annotation)
        assert len(reader) == case.images
        if annotation == "pixels":
            np.testing.assert_array_equal(reader[0].labels, exported.LABELS)
        (tmp_path / "dataset.yaml").unlink()
        assert recognise(tmp_path, annotation) == read


def test_names_around_a_key(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number in (1, 2):
            exported.photo(tmp_path / "RGB" / split / f"rgb_{number:04}.jpg")
            exported.ids_png(tmp_path / "GT" / split / f"gt_{number:04}_ids.png", exported.LABELS)
    exported.text(tmp_path / "codes.txt", "background\ncar\nroad\n")
    np.testing.assert_array_equal(opened(tmp_path, "val")[1].labels, exported.LABELS)
    (tmp_path / "GT" / "val" / "gt_0002_ids.png").rename(tmp_path / "GT" / "val" / "two.png")
    with pytest.raises(DataError, match=r"two\.png|gt_0001_ids\.png has no image of its name among 4, e\.g\. 'RGB/"):
        opened(tmp_path, "val")


TOKENS = [b"null", b"-1", b"1e999", b"[]", b'"x"', b"", b"99999999999999999999", b"\x00", b"\xff", b"..", b"{key}"]


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
