"""Two predictions of one image, compared: what differs, in words and as a picture."""

import numpy as np
import pytest

from minorkey.labels import label_space
from minorkey.tasks.classification.prediction import CategoryPrediction
from minorkey.tasks.detection.prediction import LOST, NEW, DetectionPrediction
from minorkey.tasks.prediction import Prediction
from minorkey.tasks.segmentation.prediction import APART, SegmentationPrediction

SPACE, OTHER = label_space("cat, dog, hen"), label_space("cat, dog")
IMAGE = np.full((200, 300, 3), 100, np.uint8)


def segmented(labels, space=SPACE) -> SegmentationPrediction:
    return SegmentationPrediction(np.array(labels, np.uint8), np.full((2, 2, 3), 100, np.uint8), space)


def detected(*objects, space=SPACE) -> DetectionPrediction:
    boxes = np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in objects], np.float32)
    return DetectionPrediction(boxes, scores, np.array([kind for _, _, kind in objects], np.int64), IMAGE, space)


def classified(*probabilities, space=SPACE) -> CategoryPrediction:
    return CategoryPrediction(np.array(probabilities, np.float32), IMAGE, space)


def test_pixels_that_differ():
    difference = segmented([[0, 1], [2, 2]]).compared(segmented([[0, 1], [2, 0]]))
    assert difference.text == "25.0 % of the pixels differ"
    assert np.array_equal(np.asarray(difference.picture) == APART, np.array([[[0] * 3, [0] * 3], [[0] * 3, [1] * 3]]))
    assert segmented([[0, 1], [2, 2]]).found() == {"hen": "50.0 %", "cat": "25.0 %", "dog": "25.0 %"}
    assert segmented([[1, 1], [1, 1]]).found() == {"dog": "100.0 %"}


def test_objects_that_one_of_them_finds():
    both, nudged = ((20, 100, 100, 180), 0.9, 0), ((25, 100, 105, 180), 0.5, 0)
    here, there, unsure = ((150, 60, 225, 120), 0.8, 1), ((150, 60, 225, 120), 0.8, 2), ((0, 0, 9, 9), 0.2, 1)
    one, other = detected(both, here, unsure), detected(there, nudged)
    difference = one.compared(other)
    assert difference.text == "2 of 3 objects differ"  # one place, of two classes
    drawn = np.asarray(difference.picture).reshape(-1, 3).tolist()
    assert list(LOST) in drawn
    assert list(NEW) in drawn
    assert (np.asarray(difference.picture)[95:185, 15:110] == 100).all()  # what both find is not marked
    assert one.compared(one).text == "0 of 2 objects differ"
    assert detected().compared(detected()).text == "0 of 0 objects differ"
    assert one.found() == {"cat": "1", "dog": "1"}


def test_classes_of_an_image():
    cat, dog = classified(0.7, 0.2, 0.1), classified(0.3, 0.6, 0.1)
    assert cat.compared(dog).text == "cat against dog"
    assert cat.compared(classified(0.5, 0.4, 0.1)).text == "cat in both, 0.70 against 0.50"
    assert dog.found() == {"dog": "0.60", "cat": "0.30", "hen": "0.10"}


@pytest.mark.parametrize(
    "pair",
    [
        (segmented([[0, 0]] * 2), segmented([[0, 0]] * 2, OTHER)),
        (detected(), detected(space=OTHER)),
        (classified(1, 0, 0), classified(1, 0, space=OTHER)),
    ],
)
def test_models_that_tell_other_classes_apart_are_not_compared(pair: tuple[Prediction, Prediction]):
    assert pair[0].compared(pair[1]) is None
