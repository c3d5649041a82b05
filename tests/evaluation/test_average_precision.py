import numpy as np
import pytest
from box_cases import pycocotools_evaluation, random_evidence, table

from minorkey.tasks.detection.box_rows import Found, Truth, choose
from minorkey.tasks.detection.coco import NAMES
from minorkey.tasks.detection.evidence import BoxEvidence

RANDOM = {
    "plain": {},
    "no crowds": {"crowds": 0},
    "many ties": {"levels": 3},
    "one score for all": {"levels": 1},
    "more than 100 detections": {"objects": 3, "alarms": 300, "images": 4, "classes": 2},
    "few count": {"most": 3},
    "one image": {"images": 1, "objects": 20},
}


def _means(evaluation):
    """The published figures from precision `(T, R, K, A, M)` and recall `(T, K, A, M)`; -1 is undefined."""
    precision, recall = evaluation.eval["precision"][..., -1], evaluation.eval["recall"][..., -1]
    parts = precision[..., 0], precision[0, ..., 0], precision[5, ..., 0], *np.moveaxis(precision, -1, 0)[1:]
    parts = *parts, recall[..., 0]
    return [part[part > -1].mean() if (part > -1).any() else np.nan for part in parts]


@pytest.mark.parametrize("case", RANDOM)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_pycocotools_on_random_cases(case, seed):
    pytest.importorskip("pycocotools")
    _compare(random_evidence(seed, **RANDOM[case]))


def test_equals_pycocotools_where_images_lack_detections_or_objects():
    """Restricting to the images that have detections is the classic mistake: it forgets misses."""
    pytest.importorskip("pycocotools")
    evidence = random_evidence(3, images=12)
    truth = choose(evidence.truth, evidence.truth.images % 3 != 0)
    found = choose(evidence.found, evidence.found.images % 3 != 1)
    cut = BoxEvidence(12, 4, truth, found)
    _compare(cut)
    with_detections = truth.images % 3 != 1
    assert BoxEvidence(12, 4, choose(truth, with_detections), found).score() > cut.score() + 0.01


def test_equals_pycocotools_at_the_edges_of_its_rules():
    """Boxes that touch, lie in each other, equal each other; IoU of exactly a threshold; two objects equally near."""
    pytest.importorskip("pycocotools")
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10], [10, 0, 20, 10], [2, 2, 8, 8], [0, 0, 10, 5], [30, 30, 60, 60]]
    kinds = [0, 0, 0, 0, 1, 1]
    for crowd in ([False] * 6, [False, True, False, False, False, True], [True] * 5 + [False]):
        truth = table(Truth, [([0] * 6, boxes, kinds, crowd)])
        found = table(Found, [(np.zeros(7), [*boxes, [30, 30, 60, 45]], [0, 0, 0, 1, 1, 0, 1], np.full(7, 0.5))])
        _compare(BoxEvidence(1, 2, truth, found))


def _compare(evidence):
    evaluation = pycocotools_evaluation(evidence)
    expected, details = _means(evaluation), evidence.details()
    assert [details[name] for name in NAMES] == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert evidence.score() == pytest.approx(expected[0], abs=1e-6, nan_ok=True)
    by_class = evaluation.eval["precision"][:, :, :, 0, -1]
    shown = (by_class > -1).all(axis=(0, 1))
    assert evidence.by_class()[shown] == pytest.approx(by_class.mean(axis=(0, 1))[shown], abs=1e-6)
    assert np.isnan(evidence.by_class()[~shown]).all()
    for name, place in (("AP50", 0), ("AP75", 5)):
        values = evidence.class_details()[name]
        assert values[shown] == pytest.approx(by_class[place].mean(axis=0)[shown], abs=1e-6)


def _one_class(outcomes, metric):
    """Four objects in two images; the detections, the best first, find the next of them or nothing."""
    corners = np.array([[0, 0], [50, 0], [0, 50], [50, 50]], dtype=float)
    objects = np.concatenate([corners, corners + 10], axis=1)
    hits = iter(objects)
    boxes = np.array([next(hits) if right else [90, 90, 99, 99] for right in outcomes])
    scores = np.linspace(0.9, 0.1, len(outcomes))
    truth = table(Truth, [([0, 0, 0, 0], objects, [0] * 4, [False] * 4), ([], np.zeros((0, 4)), [], [])])
    found = table(Found, [(np.zeros(len(boxes)), boxes, np.zeros(len(boxes)), scores)])
    return BoxEvidence(2, 1, truth, found, metric)


def test_average_precision_by_hand():
    # right, wrong, right, wrong, wrong, right, of 4 objects:
    # recall 1/4 at precision 1/1, recall 2/4 at 2/3, recall 3/4 at 3/6; the fourth object is never found
    outcomes = [True, False, True, False, False, True]
    # 2007: levels 0, .1, .2 at precision 1; .3, .4, .5 at 2/3; .6, .7 at 1/2; .8, .9, 1 are not reached
    assert _one_class(outcomes, "voc07").score() == pytest.approx((3 * 1 + 3 * 2 / 3 + 2 * 1 / 2) / 11)
    # all points: three steps of 1/4 in recall
    assert _one_class(outcomes, "voc").score() == pytest.approx((1 + 2 / 3 + 1 / 2) / 4)
    # COCO: levels 0 ... .25, then .26 ... .50, then .51 ... .75; the boxes are exact, so every threshold is alike
    assert _one_class(outcomes, "coco").score() == pytest.approx((26 * 1 + 25 * 2 / 3 + 25 * 1 / 2) / 101)


def test_a_later_higher_precision_counts_for_lower_recall():
    # wrong, right, right, right: precision rises 0, 1/2, 2/3, 3/4, so the best from any of the recalls on is 3/4
    outcomes = [False, True, True, True]
    assert _one_class(outcomes, "voc").score() == pytest.approx(3 / 4 * 3 / 4)
    assert _one_class(outcomes, "voc07").score() == pytest.approx(8 * 3 / 4 / 11)


def test_a_recall_of_exactly_a_level_reaches_it():
    # 3 of 10 found, all right: levels 0, .1, .2, .3, though 0.1 * 3 is more than 3 / 10 in binary
    objects = np.array([[20 * i, 0, 20 * i + 9, 9] for i in range(10)], dtype=float)
    truth = table(Truth, [(np.zeros(10), objects, np.zeros(10), np.zeros(10))])
    found = table(Found, [(np.zeros(3), objects[:3], np.zeros(3), [0.9, 0.8, 0.7])])
    assert BoxEvidence(1, 1, truth, found, "voc07").score() == pytest.approx(4 / 11)


@pytest.mark.parametrize("metric", ["coco", "voc", "voc07"])
def test_an_image_drawn_twice_counts_as_two(metric):
    evidence = random_evidence(5, images=9, metric=metric)
    draws = np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), size=12)
    expected = [_copied(evidence, draw).score() for draw in draws]
    assert evidence.scores(draws) == pytest.approx(expected, abs=1e-12)


def _copied(evidence, draw):
    """An evidence that has image i `draw[i]` times."""
    images = np.repeat(np.arange(len(draw)), draw)

    def rows(columns):
        parts = [choose(columns, columns.images == image) for image in images]
        return type(columns)(
            np.repeat(np.arange(len(images)), [len(part.images) for part in parts]),
            *(np.concatenate(column) for column in list(zip(*parts, strict=True))[1:]),
        )

    return BoxEvidence(len(images), evidence.num_classes, rows(evidence.truth), rows(evidence.found), evidence.metric)


def test_resamples_in_several_goes_are_the_same(monkeypatch):
    evidence = random_evidence(6)
    draws = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=30)
    at_once = evidence.scores(draws)
    monkeypatch.setattr("minorkey.tasks.detection.evidence.AT_ONCE", 50)
    assert np.array_equal(evidence.scores(draws), at_once)
