import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_jaccard_index,
)

from minorkey.errors import DataError
from minorkey.tasks.evidence import only_scored
from minorkey.tasks.segmentation.confusion import (
    class_accuracy,
    confusion_matrix,
    iou,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)
from minorkey.tasks.segmentation.evidence import PixelEvidence


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, (40, 60)).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 5, truth.shape)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.1] = 255
    return prediction, truth


def test_agrees_with_torchmetrics(pair):
    matrix = confusion_matrix(*pair, num_classes=5)
    prediction, truth = (torch.from_numpy(x.astype(np.int64)) for x in pair)
    settings = {"num_classes": 5, "ignore_index": 255}
    assert (matrix == multiclass_confusion_matrix(prediction, truth, **settings).numpy()).all()
    jaccard = multiclass_jaccard_index(prediction, truth, average="none", **settings)
    assert np.allclose(iou(matrix), jaccard, atol=1e-6)
    recall = multiclass_accuracy(prediction, truth, average="none", **settings)
    assert np.allclose(class_accuracy(matrix), recall, atol=1e-6)
    overall = multiclass_accuracy(prediction, truth, average="micro", **settings)
    assert pixel_accuracy(matrix) == pytest.approx(float(overall), abs=1e-6)


def test_by_hand_with_an_absent_class():
    truth = np.array([[0, 0, 0, 1], [1, 1, 255, 255]])
    prediction = np.array([[0, 0, 1, 1], [1, 2, 0, 2]])
    matrix = confusion_matrix(prediction, truth, num_classes=3)
    assert matrix.tolist() == [[2, 1, 0], [0, 2, 1], [0, 0, 0]]
    assert np.allclose(iou(matrix), [2 / 3, 2 / 4, 0])
    assert mean_iou(matrix) == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert np.allclose(iou(matrix, "skip"), [2 / 3, 2 / 4, np.nan], equal_nan=True)
    assert mean_iou(matrix, "skip") == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert mean_accuracy(matrix) == pytest.approx(2 / 3)
    assert pixel_accuracy(matrix) == pytest.approx(4 / 6)


def test_a_class_that_is_only_predicted_counts_as_in_cityscapes():
    """TP / (TP + FP + FN) over all labelled pixels, no number without any of them: 0.9 and 1 of 10 pixels, and 0."""
    truth = np.repeat([0, 1], 50)
    found = np.where(np.arange(100) < 10, 2, truth)
    matrix = confusion_matrix(found, truth, num_classes=4)
    assert mean_iou(matrix) == pytest.approx((40 / 50 + 1 + 0) / 3)
    for absent, score in (("zero", (0.8 + 1) / 3), ("skip", 0.9)):
        evidence = PixelEvidence.of_matrices(matrix[None], absent)
        assert evidence.score() == pytest.approx(score)
        assert evidence.scores(np.ones((1, 1), np.int64)).tolist() == pytest.approx([score])
        assert PixelEvidence.restored(evidence.stored("day"), absent)["day"].score() == evidence.score()
    two = only_scored(PixelEvidence.of_matrices(matrix[None]), list("abcd"), ["a", "b"])
    assert two.score() == pytest.approx(0.9), "a class that is not scored cannot count 0"
    assert np.isnan(two.by_class()[2:]).all()


def test_unscored_classes_are_ignored():
    matrix = np.array([[2, 1, 0], [0, 2, 1], [1, 0, 3]])
    evidence = PixelEvidence.of_matrices(matrix[None])
    kept = only_scored(evidence, ["a", "b", "c"], ["a", "b"])
    assert kept.matrices.tolist() == [[[2, 1, 0], [0, 2, 1], [0, 0, 0]]]
    assert only_scored(evidence, ["a", "b", "c"], None) is evidence


def test_nothing_labelled_is_nan_not_zero():
    empty = np.zeros((3, 3), dtype=np.int64)
    assert np.isnan([mean_iou(empty), mean_accuracy(empty), pixel_accuracy(empty)]).all()


def test_error_texts():
    with pytest.raises(DataError, match=r"prediction of size \(2, 3\) for labels of size \(3, 2\)"):
        confusion_matrix(np.zeros((2, 3), int), np.zeros((3, 2), int), 2)
    with pytest.raises(DataError, match="class id 7 in a label space of 2 classes"):
        confusion_matrix(np.zeros((2, 2), int), np.full((2, 2), 7), 2)


def test_evidence_is_read_as_written_and_as_it_was_before():
    matrices = np.random.default_rng(0).integers(0, 3, (4, 3, 3))
    evidence = PixelEvidence.of_matrices(matrices)
    assert np.array_equal(evidence.matrices, matrices)
    restored = PixelEvidence.restored(evidence.stored("day") | {"old": matrices})
    assert {name: kept.shape for name, kept in restored.items()} == {"old": (4, 3), "day": (4, 3)}
    assert np.array_equal(restored["day"].matrices, matrices)
    assert np.array_equal(restored["old"].matrices, matrices)
