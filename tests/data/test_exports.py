"""What tools for labelling export, in the very form that they do, is read without a word about it."""

import json
import re
import shutil
from pathlib import Path

import exported
import numpy as np
import pytest
from exported.cases import CASES, CLASSES, SPACE, Case, broken, opened

from minorkey.data.readers import open_datasets
from minorkey.data.readers.exports import recognise
from minorkey.data.readers.shapes import supervisely
from minorkey.data.readers.shapes.shape import drawn
from minorkey.datacheck.guess import init_dataset
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space


@pytest.fixture(params=CASES, ids=lambda case: case.write.__name__)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


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


def test_classes_of_yolo_have_the_numbers_of_their_lines(tmp_path: Path) -> None:
    exported.label_studio_yolo(tmp_path)
    (tmp_path / "classes.txt").write_text("car\n\nroad\n")
    for file in (tmp_path / "labels").iterdir():
        file.write_text(re.sub("^1", "2", file.read_text(), flags=re.MULTILINE))
    boxes = opened(tmp_path, "all", "boxes")[0]
    found = dict(zip((CLASSES.classes[number] for number in boxes.box_classes), boxes.boxes.tolist(), strict=True))
    assert found == {name: pytest.approx(exported.BOXES[name], abs=1e-4) for name in ("car", "road")}


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
