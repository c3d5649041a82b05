"""What tools for labelling export, in the very form that they do, is read without a word about it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import exported
import numpy as np
import pytest

from minorkey.data.readers import open_datasets
from minorkey.data.readers.exports import recognise
from minorkey.errors import ConfigError
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
    Case(exported.cvat_images, "CVAT for images", "train val", 2),
    Case(exported.labelme, "Labelme", "all", 2),
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


def test_plain_masks(tmp_path: Path) -> None:
    exported.plain_masks(tmp_path / "cracks")
    (reader,) = open_datasets(
        str(tmp_path / "cracks"), role="source", label_space=label_space("background, foreground")
    )
    np.testing.assert_array_equal(reader[0].labels, exported.LABELS == 1)
