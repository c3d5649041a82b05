"""Photographs with an EXIF orientation: image and annotation are in one frame, or sizes do not tell and it is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minorkey.data.frames import upright_boxes, upright_labels
from minorkey.data.readers import open_datasets
from minorkey.errors import DataError
from minorkey.labels import label_space

WIDTH, HEIGHT = 24, 16
BOX = (3, 5, 9, 15)  # of the stored pixels
TURNS = range(1, 9)


def photograph(file: Path, orientation: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A grey image with a white box, as it is stored; its mask."""
    x0, y0, x1, y1 = BOX
    mask = np.zeros((height, width), np.uint8)
    mask[y0:y1, x0:x1] = 1
    exif = Image.Exif()
    exif[0x0112] = orientation
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask * 200).convert("RGB").save(file, exif=exif)
    return mask


def as_shown(file: Path) -> np.ndarray:
    """The mask as a viewer shows the image."""
    from PIL import ImageOps

    return np.asarray(ImageOps.exif_transpose(Image.open(file)))[..., 0] // 200


def boxes_of(mask: np.ndarray) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def segmented(root: Path, orientation: int, labels: str):
    """A data set of one image, its labels in the stored or the upright frame."""
    mask = photograph(root / "images/train/a.png", orientation)
    shown = as_shown(root / "images/train/a.png")
    (root / "labels/train").mkdir(parents=True)
    Image.fromarray(mask if labels == "stored" else shown).save(root / "labels/train/a.png")
    (root / "dataset.yaml").write_text("ids: {0: road, 1: car}\n")
    return open_datasets(str(root), role="source", label_space=label_space("road, car"))[0], shown


@pytest.mark.parametrize("frame", ["stored", "upright"])
@pytest.mark.parametrize("orientation", TURNS)
def test_labels(tmp_path, orientation, frame):
    reader, shown = segmented(tmp_path, orientation, frame)
    sample = reader[0]
    if frame == "upright" or orientation in (1, 5, 6, 7, 8):
        np.testing.assert_array_equal(sample.labels, shown)
        np.testing.assert_array_equal(sample.image[..., 0] // 200, sample.labels)
    else:  # of the same size in both frames: taken as of the upright one, and counted by the data check
        np.testing.assert_array_equal(sample.labels, np.asarray(Image.open(tmp_path / "labels/train/a.png")))


def test_labels_of_neither_frame_name_the_orientation(tmp_path):
    reader, _ = segmented(tmp_path, 6, "stored")
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "labels/train/a.png")
    with pytest.raises(DataError, match=r"a\.png is 7x5 but its image is 16x24 .*EXIF orientation 6 says\)"):
        reader[0]


def coco(root: Path, sides: tuple[int, int], box: list[float]) -> None:
    (root / "annotations").mkdir()
    x0, y0, x1, y1 = map(float, box)
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": sides[0], "height": sides[1]}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}],
    }
    (root / "annotations/train.json").write_text(json.dumps(content))
    (root / "dataset.yaml").write_text("boxes: coco\n")


def voc(root: Path, sides: tuple[int, int], box: list[float]) -> None:
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    corners = zip(("xmin", "ymin", "xmax", "ymax"), (box[0] + 1, box[1] + 1, *box[2:]), strict=True)
    bounds = "".join(f"<{name}>{value}</{name}>" for name, value in corners)
    (root / "Annotations/a.xml").write_text(
        f"<annotation><size><width>{sides[0]}</width><height>{sides[1]}</height></size>"
        f"<object><name>car</name><bndbox>{bounds}</bndbox></object></annotation>"
    )
    (root / "ImageSets/Main/train.txt").write_text("a\n")
    (root / "dataset.yaml").write_text("boxes: voc\nclasses: [car]\nimages: images/train/{key}.png\n")


@pytest.mark.parametrize("write", [coco, voc])
@pytest.mark.parametrize("frame", ["stored", "upright"])
@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
def test_boxes(tmp_path, orientation, frame, write):
    mask = photograph(tmp_path / "images/train/a.png", orientation)
    shown = as_shown(tmp_path / "images/train/a.png")
    given = mask if frame == "stored" else shown
    write(tmp_path, given.shape[::-1], boxes_of(given))
    sample = open_datasets(str(tmp_path), role="source", label_space=label_space("weather7"), annotation="boxes")[0][0]
    np.testing.assert_array_equal(sample.image[..., 0] // 200, shown)
    assert sample.boxes.tolist() == [boxes_of(shown)]


@pytest.mark.parametrize("write", [coco, voc])
def test_boxes_of_neither_frame(tmp_path, write):
    photograph(tmp_path / "images/train/a.png", 6)
    write(tmp_path, (30, 20), list(BOX))
    reader = open_datasets(str(tmp_path), role="source", label_space=label_space("weather7"), annotation="boxes")[0]
    with pytest.raises(DataError, match=r"boxes in an image of 30x20 but .*a\.png is 16x24 .*EXIF orientation 6"):
        reader[0]


@pytest.mark.parametrize("write", [coco, voc])
@pytest.mark.parametrize("sides", [(0, 0), (-1, -1), (WIDTH, 0)])
def test_sizes_that_are_not_said(tmp_path, write, sides):
    photograph(tmp_path / "images/train/a.png", 1)
    write(tmp_path, sides, list(BOX))
    sample = open_datasets(str(tmp_path), role="source", label_space=label_space("weather7"), annotation="boxes")[0][0]
    assert sample.boxes.tolist() == [list(BOX)]


@pytest.mark.parametrize("write", [coco, voc])
@pytest.mark.parametrize("orientation", [1, 3])
def test_a_size_that_contradicts_the_image(tmp_path, write, orientation):
    photograph(tmp_path / "images/train/a.png", orientation)
    write(tmp_path, (HEIGHT, WIDTH), list(BOX))
    reader = open_datasets(str(tmp_path), role="source", label_space=label_space("weather7"), annotation="boxes")[0]
    with pytest.raises(DataError, match="boxes in an image of 16x24 but .* is 24x16"):
        reader[0]


def test_turning_is_asked_for_only_where_sizes_differ():
    labels = np.zeros((4, 4), np.uint8)

    def never() -> int:
        raise AssertionError

    assert upright_labels(labels, (4, 4), never) is labels
    assert upright_labels(labels, (4, 5), never) is labels
    assert upright_boxes(np.zeros((0, 4)), (4, 5), 6).shape == (0, 4)
