import gc
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from minorkey.evaluation import bootstrap
from minorkey.evaluation.bootstrap import (
    mean_interval,
    paired_difference,
    paired_t_interval,
    score_interval,
)
from minorkey.tasks.segmentation.confusion import mean_iou
from minorkey.tasks.segmentation.evidence import PixelEvidence


def fake_evidence(images, quality, seed, classes=4):
    """Evidence in which `quality` of the pixels are right, harder images shared by equal seeds."""
    rng = np.random.default_rng(seed)
    right = np.clip(quality + rng.normal(0, 0.1, images), 0.05, 0.95)
    pixels = rng.integers(200, 2000, (images, classes))
    matrices = np.zeros((images, classes, classes), dtype=np.int64)
    for i in range(images):
        for k in range(classes):
            share = np.full(classes, (1 - right[i]) / (classes - 1))
            share[k] = right[i]
            matrices[i, k] = np.round(pixels[i, k] * share)
    return PixelEvidence.of_matrices(matrices)


def many_images(images: int, classes: int) -> PixelEvidence:
    """Images that show 12 classes each, every one taken for up to 12 others."""
    rng = np.random.default_rng(0)
    notes = []
    for _ in range(images):
        truth, predicted = (rng.choice(classes, 12, replace=False) for _ in range(2))
        cells = np.unique(np.concatenate([truth * classes + truth, (truth[:, None] * classes + predicted).ravel()]))
        notes.append((cells.astype(np.int32), rng.integers(1, 2000, len(cells), dtype=np.int32)))
    return PixelEvidence.of(notes, classes)


def slow_interval(matrices, resamples, seed):
    rng = np.random.default_rng(seed)
    picks = (rng.integers(0, len(matrices), len(matrices)) for _ in range(resamples))
    return np.percentile([mean_iou(matrices[pick].sum(0)) for pick in picks], [2.5, 97.5])


def test_interval_agrees_with_drawing_images_one_by_one():
    evidence = fake_evidence(30, 0.6, seed=1)
    fast = score_interval(evidence, resamples=4000)
    slow = slow_interval(evidence.matrices, resamples=4000, seed=5)
    width = slow[1] - slow[0]
    assert np.allclose(fast, slow, atol=0.06 * width)
    assert fast.low < evidence.score() < fast.high


def test_interval_is_seeded_and_narrows_with_images():
    few, many = fake_evidence(10, 0.6, 1), fake_evidence(160, 0.6, 1)
    assert score_interval(few) == score_interval(few)
    assert score_interval(few) != score_interval(few, seed=1)
    narrow, wide = score_interval(many), score_interval(few)
    assert (wide.high - wide.low) > 2 * (narrow.high - narrow.low)


def test_absent_class_does_not_break_a_resample():
    matrices = fake_evidence(6, 0.6, 1).matrices
    matrices[1:, 3] = 0  # class 3 occurs in one image only
    interval = score_interval(PixelEvidence.of_matrices(matrices))
    assert 0 < interval.low < interval.high < 1


def test_paired_difference_is_narrower_than_unpaired():
    a, b = fake_evidence(40, 0.62, 1), fake_evidence(40, 0.58, 1)
    other = fake_evidence(40, 0.58, 2)
    paired, unpaired = paired_difference([a], [b]), paired_difference([a], [other])
    assert paired.value == pytest.approx(mean_iou(a.matrices.sum(0)) - mean_iou(b.matrices.sum(0)))
    assert paired.low < paired.value < paired.high
    assert paired.excludes_zero
    assert (paired.high - paired.low) < 0.5 * (unpaired.high - unpaired.low)


def test_paired_difference_of_a_run_with_itself_is_zero():
    a = fake_evidence(12, 0.6, 1)
    same = paired_difference([a, a], [a, a])
    assert tuple(same) == (0, 0, 0)
    assert not same.excludes_zero


def test_paired_difference_changes_sign_with_the_order():
    a, b = fake_evidence(12, 0.65, 1), fake_evidence(12, 0.55, 3)
    forward, back = paired_difference([a], [b]), paired_difference([b], [a])
    assert np.allclose(forward, (-back.value, -back.high, -back.low))


def test_mean_of_independent_domains_narrows_and_of_shared_scenes_does_not():
    domain = fake_evidence(40, 0.6, 1)
    alone = score_interval(domain)
    independent = mean_interval([domain] * 4)
    shared = mean_interval([domain] * 4, shared_scenes=True)
    assert shared == pytest.approx(alone)
    ratio = (independent.high - independent.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(0.5, abs=0.08)  # 1 / sqrt(4)


def test_t_interval_agrees_with_scipy():
    differences = [0.5, 1.7, 0.9, -0.2]
    found = paired_t_interval(differences)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found == pytest.approx((np.mean(differences), expected.low, expected.high))


def test_error_texts():
    a, fewer = fake_evidence(5, 0.6, 1), fake_evidence(4, 0.6, 1)
    with pytest.raises(ValueError, match="runs on different images cannot be paired"):
        paired_difference([a], [fewer])
    with pytest.raises(ValueError, match="at least 2 seeds"):
        paired_t_interval([0.1])
    with pytest.raises(ValueError, match="equally many images"):
        mean_interval([a, fewer], shared_scenes=True)


def test_parts_give_the_draws_of_the_whole(monkeypatch):
    evidence = fake_evidence(12, 0.6, 1)
    whole = score_interval(evidence)
    monkeypatch.setattr(bootstrap, "AT_ONCE", 12 * 7)  # 1000 resamples are 142 parts of 7, and one of 6
    assert score_interval(evidence) == whole


def test_evidence_of_many_images_and_classes_is_small():
    """100 000 images of 150 classes, counted on 2000: what is kept, and what a resample is scored with."""
    evidence = many_images(2000, 150)
    kept = sum(column.nbytes for column in evidence.stored("ade").values())
    assert 50 * kept < 0.5e9
    tracemalloc.start()
    score_interval(evidence, resamples=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 50 * (kept + peak) < 2e9


@pytest.mark.parametrize("absent", ["zero", "skip"])
def test_a_class_that_a_resample_misses_is_left_out_though_pixels_are_taken_for_it(absent):
    matrices = np.tile(np.array([[90, 0, 1], [0, 90, 0], [0, 0, 0]]), (20, 1, 1))
    matrices[0, 2, 2] = 50  # the one image that shows class 2
    evidence = PixelEvidence.of_matrices(matrices, absent)
    without, with_it = np.ones((2, 20), np.int64)
    without[:2] = 0, 2
    expected = [np.mean([90 / 91, 1.0]), np.mean([90 / 91, 1.0, 50 / 70])]
    assert np.allclose(evidence.scores(np.stack([without, with_it])), expected)


def test_a_class_that_no_image_shows_counts_in_a_resample_as_in_the_score():
    matrices = np.tile(np.array([[90, 0, 1], [0, 90, 0], [0, 0, 0]]), (5, 1, 1))
    evidence = PixelEvidence.of_matrices(matrices, "zero")
    assert np.allclose(evidence.scores(np.ones((1, 5), np.int64)), evidence.score())
    assert evidence.score() == pytest.approx((90 / 91 + 1) / 3)


def test_resamples_of_an_evidence_are_scored_once_and_forgotten_with_it():
    calls = []

    class Counted(PixelEvidence):
        def scores(self, draws: np.ndarray) -> np.ndarray:
            calls.append(len(draws))
            return super().scores(draws)

    def made(seed: int) -> PixelEvidence:
        return Counted.of_matrices(np.random.default_rng(seed).integers(0, 50, (8, 3, 3)))

    a, b = made(0), made(1)
    first = paired_difference([a, b], [b, a], shared_scenes=True)
    assert calls == [1000, 1000]
    assert paired_difference([a, b], [b, a], shared_scenes=True) == first
    assert score_interval(a) == mean_interval([a])
    assert len(calls) == 2
    score_interval(a, seed=1)
    assert len(calls) == 3
    known = len(bootstrap._KNOWN)
    del a, b
    gc.collect()
    assert len(bootstrap._KNOWN) == known - 2
