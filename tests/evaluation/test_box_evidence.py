import json

import numpy as np
import pytest
from box_cases import random_evidence
from safetensors.numpy import save_file

from minorkey.errors import DataError
from minorkey.evaluation.bootstrap import mean_interval, paired_difference, score_interval
from minorkey.evaluation.evidence_files import read_evidence, write_evidence
from minorkey.evaluation.scores import ScoreTable, TrainingCost, build_scores
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.detection.box_rows import Found, choose
from minorkey.tasks.detection.evidence import BoxEvidence
from minorkey.tasks.evidence import only_scored
from minorkey.tasks.protocol import Protocol

CLASSES = ["car", "bus", "rider", "train"]


def _scores(metric="coco", **domains):
    settings = {"run": "r", "method": "soma", "classes": CLASSES, "training": TrainingCost(), "task": "detection"}
    protocol = Protocol(label_space="four", metric=metric, detections=100)
    return build_scores({name: ("unseen", each) for name, each in domains.items()}, protocol=protocol, **settings)


def _worse(evidence, share, seed=0):
    """The same without a share of the detections."""
    kept = np.random.default_rng(seed).random(len(evidence.found.images)) >= share
    return BoxEvidence(evidence.images, evidence.num_classes, evidence.truth, choose(evidence.found, kept))


def test_scores_of_a_domain():
    evidence = random_evidence(0)
    (score,) = _scores(fog=evidence).domains
    assert (score.score, score.images) == (evidence.score(), 12)
    assert score.score == pytest.approx(score.details["AP"], abs=1e-6)
    assert score.interval[0] < score.score < score.interval[1]
    assert score.score == pytest.approx(np.mean([value for value in score.by_class.values() if value is not None]))
    assert score.missing_classes == ["train"]
    assert score.by_class["train"] is score.class_details["AP50"]["train"] is None
    assert (
        score.details["AP"]
        < score.details["AP50"]
        == pytest.approx(np.mean([value for value in score.class_details["AP50"].values() if value is not None]))
    )


@pytest.mark.parametrize(("metric", "name"), [("voc", "VOC AP50"), ("voc07", "VOC07 AP50")])
def test_pascal_voc_scores_differ_from_coco(metric, name):
    scores = _scores(metric, fog=random_evidence(0, metric=metric))
    (score,) = scores.domains
    assert score.score == score.details[name]
    assert score.score != pytest.approx(score.details["AP50"], abs=1e-6)
    assert scores.metric.name == "AP50"


def test_a_difference_of_two_runs_is_paired():
    a = random_evidence(1, images=16)
    b = _worse(a, 0.3)
    paired = paired_difference([a], [b])
    assert paired.value == pytest.approx(a.score() - b.score())
    assert paired.low < paired.value < paired.high
    alone = score_interval(a)
    assert (paired.high - paired.low) < 0.7 * (alone.high - alone.low)
    assert tuple(paired_difference([a, a], [a, a])) == (0, 0, 0)
    assert mean_interval([a] * 2, shared_scenes=True) == pytest.approx(alone)


def test_the_unseen_mean_is_unweighted():
    fog, night = random_evidence(2), random_evidence(3, images=4)
    scores = _scores(fog=fog, night=night)
    assert scores.unseen_mean.score == pytest.approx((fog.score() + night.score()) / 2)
    assert scores.worst.score == min(fog.score(), night.score())
    assert ScoreTable.from_json(json.loads(json.dumps(scores.to_json(), allow_nan=False))) == scores


def test_other_classes_do_not_count():
    evidence = random_evidence(4)
    kept = only_scored(evidence, CLASSES, ("car", "rider"))
    assert np.isnan(kept.by_class()[[1, 3]]).all()
    assert kept.score() == pytest.approx(evidence.by_class()[[0, 2]].mean())
    assert kept.details()["AP"] == pytest.approx(kept.score(), abs=1e-6)


def test_without_detections_the_score_is_zero_and_without_objects_there_is_none():
    evidence = random_evidence(0)
    silent = BoxEvidence(12, 4, evidence.truth, choose(evidence.found, slice(0)))
    assert silent.score() == silent.details()["AP"] == silent.details()["AR"] == 0
    assert score_interval(silent) == (0, 0)
    blank = BoxEvidence(12, 4, choose(evidence.truth, slice(0)), evidence.found)
    crowds = BoxEvidence(12, 4, evidence.truth._replace(crowd=np.ones_like(evidence.truth.crowd)), evidence.found)
    for each in (blank, crowds):
        scores = _scores(fog=each, night=evidence)
        assert [(fog.domain, fog.why) for fog in scores.unscored] == [("fog", "no labelled object of a scored class")]
        assert scores.unseen_mean.score == evidence.score()


def test_false_alarms_on_images_without_objects_count():
    evidence = random_evidence(0)
    alarms = Found(*(np.concatenate([column, column[:9]]) for column in evidence.found))
    alarms = alarms._replace(images=np.concatenate([evidence.found.images, np.full(9, 12)]))
    assert BoxEvidence(13, 4, evidence.truth, alarms).score() < evidence.score()


def test_evidence_survives_its_file(tmp_path):
    folder, protocol = RunFolder(tmp_path), Protocol(label_space="four", metric="voc", detections=7)
    assert read_evidence(folder, protocol, 4) is None
    written = {"night": random_evidence(1, metric="voc", most=7), "camvid+fog@3": random_evidence(2, images=3)}
    write_evidence(folder, protocol, written)
    again = read_evidence(folder, protocol, 4)
    assert list(again) == sorted(written)
    for name, evidence in written.items():
        assert (again[name].shape, again[name].metric, again[name].most) == (evidence.shape, "voc", 7)
        for before, after in zip(
            (*evidence.truth, *evidence.found), (*again[name].truth, *again[name].found), strict=True
        ):
            assert np.array_equal(before, after)
            assert before.dtype == after.dtype


def test_a_damaged_file_is_named(tmp_path):
    folder, protocol = RunFolder(tmp_path), Protocol(label_space="four", metric="coco", detections=100)
    file = tmp_path / "detections.safetensors"
    save_file({"night/images": np.array([3])}, file)
    with pytest.raises(DataError, match=r"cannot read .*detections.safetensors: .*truth_images.*`minorkey evaluate`"):
        read_evidence(folder, protocol, 4)
    file.write_bytes(b"no")
    with pytest.raises(DataError, match=r"cannot read .*detections.safetensors") as caught:
        read_evidence(folder, protocol, 4)
    assert "\n" not in str(caught.value)
