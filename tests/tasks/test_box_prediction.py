import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from minorkey.errors import StorageError
from minorkey.labels import label_space
from minorkey.tasks.detection.drawing import DARK, LIGHT, contrast, draw_boxes
from minorkey.tasks.detection.prediction import DetectionPrediction

SPACE = label_space("cityscapes19")
PERSON, CAR, TRUCK = (SPACE.classes.index(name) for name in ("person", "car", "truck"))
GREY = np.full((120, 200, 3), 90, np.uint8)


def predicted(boxes, scores, classes, image=GREY) -> DetectionPrediction:
    return DetectionPrediction(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(classes, np.int64),
        image, SPACE,
    )  # fmt: skip


@pytest.fixture
def prediction() -> DetectionPrediction:
    return predicted([[20, 60, 90.5, 100], [120, 40, 150, 110.25], [0, 0, 200, 120]], [0.9, 0.5, 0.2], [CAR, PERSON, 2])


def where(picture: Image.Image, colour) -> np.ndarray:
    return (np.asarray(picture) == np.array(colour)).all(-1)


def test_a_drawn_box_frames_its_pixels_in_the_colour_of_its_class() -> None:
    drawn = predicted([[20, 60, 90, 100]], [0.9], [CAR]).draw()
    rows, columns = np.nonzero(where(drawn, SPACE.colours[CAR]))
    assert (columns.min(), columns.max(), rows.max()) == (20, 89, 99)
    assert where(drawn, SPACE.colours[CAR])[60:100, 20].all(), "the left side is one line"
    assert (np.asarray(drawn)[70:90, 30:80] == 90).all(), "the inside is the image"
    assert drawn.size == (200, 120)


def test_only_sure_boxes_are_drawn(prediction) -> None:
    assert where(prediction.draw(), SPACE.colours[PERSON]).any()
    assert not where(prediction.draw(threshold=0.6), SPACE.colours[PERSON]).any()
    assert not where(prediction.draw(), SPACE.colours[2])[5:, -1].any()
    assert where(prediction.draw(threshold=0.1), SPACE.colours[2])[5:, -1].all()
    assert np.array_equal(np.asarray(prediction.draw(threshold=1.0)), GREY)
    assert (GREY == 90).all(), "the image itself is left alone"


def test_every_box_has_a_text_of_its_own_place() -> None:
    """Three boxes at one corner, and one at the upper edge: no text covers another."""
    boxes = np.array([[50, 50, 150, 90], [50, 50, 140, 80], [50, 50, 120, 70], [0, 0, 60, 20]])
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0)]
    alone = [where(draw_boxes(GREY, boxes[i : i + 1], [colours[i]], ["car 0.90"]), colours[i]).sum() for i in range(4)]
    together = draw_boxes(GREY, boxes, colours, ["car 0.90"] * 4)
    shown = [where(together, colours[i]).sum() / alone[i] for i in range(4)]
    assert min(shown) > 0.6, "a line may be crossed, a text fills two thirds of what is drawn"


def test_names_hide_no_box_of_a_small_image() -> None:
    boxes = np.array([[30 + 9 * (i % 3), 30 + 9 * (i // 3), 38 + 9 * (i % 3), 38 + 9 * (i // 3)] for i in range(9)])
    red, blue = (200, 0, 0), (0, 0, 200)
    crowd = where(draw_boxes(GREY[:96, :128], boxes, [red] * 4 + [blue] + [red] * 4, ["car 0.90"] * 9), blue)
    assert crowd[39:47, 39:47].sum() >= 2 * 8, "the frame of the one in the middle, two of whose sides others may cross"
    assert crowd.sum() < 8 * 8, "its name found no room"
    alone = where(draw_boxes(GREY[:96, :128], boxes[4:5], [blue], ["car 0.90"]), blue)
    assert alone.sum() > 8 * 8, "alone it has one"


def test_lines_grow_with_the_image() -> None:
    large = np.full((1200, 2000, 3), 90, np.uint8)
    drawn = where(draw_boxes(large, np.array([[200, 600, 900, 1000]]), [(0, 0, 142)], ["car"]), (0, 0, 142))
    assert drawn[800, :300].sum() == 5


def test_letters_stand_out() -> None:
    assert contrast((0, 0, 142)) == LIGHT
    assert contrast((220, 220, 0)) == DARK


def test_what_has_no_box_is_the_image() -> None:
    empty = predicted([], [], [])
    assert np.array_equal(np.asarray(empty.draw()), GREY)
    assert empty.to_coco(3) == []


@pytest.mark.parametrize(
    "box", [[-40, -30, 20, 10], [180, 100, 260, 180], [10.2, 10.2, 10.4, 10.4], [199, 0, 200, 120]]
)
def test_boxes_over_the_edge_and_tiny_ones_are_drawn(box) -> None:
    assert where(predicted([box], [0.9], [TRUCK]).draw(), SPACE.colours[TRUCK]).any()


def test_coco_results_are_read_by_pycocotools(prediction, capsys) -> None:
    results = prediction.to_coco(7)
    assert results[0] == {
        "image_id": 7, "category_id": CAR, "category_name": "car", "bbox": [20, 60, 70.5, 40], "score": 0.9,
    }  # fmt: skip
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 7}],
        "categories": [{"id": index} for index in range(len(SPACE))],
        "annotations": [
            {"id": 1 + i, "image_id": 7, "iscrowd": 0, "area": r["bbox"][2] * r["bbox"][3], **r}
            for i, r in enumerate(results)
        ],
    }
    truth.createIndex()
    judged = COCOeval(truth, truth.loadRes(results), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    assert judged.stats[0] == pytest.approx(1.0), "the truth found is all that there is to find"
    capsys.readouterr()


def test_saved_boxes_and_all_of_a_folder(prediction, tmp_path) -> None:
    empty = predicted([], [], [])
    prediction.save(tmp_path / "boxes" / "day" / "3.json")
    empty.save(tmp_path / "boxes" / "4.json")
    saved = {"day/3.jpg": tmp_path / "boxes" / "day" / "3.json", "4.png": tmp_path / "boxes" / "4.json"}
    assert json.loads(saved["day/3.jpg"].read_text()) == prediction.to_coco("3")
    assert json.loads(saved["4.png"].read_text()) == []
    DetectionPrediction.summarise(saved, tmp_path / "all.of.it")
    assert json.loads((tmp_path / "all.of.it.json").read_text()) == prediction.to_coco("day/3.jpg")


def test_what_cannot_be_written_or_read(prediction, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        prediction.save(tmp_path / "file" / "3.json")
    with pytest.raises(StorageError, match=r"cannot read '.*file': .*; delete it and predict again"):
        DetectionPrediction.summarise({"a": tmp_path / "file"}, tmp_path / "all")


def test_shows_itself_in_a_notebook(prediction) -> None:
    assert prediction._repr_png_().startswith(b"\x89PNG")
