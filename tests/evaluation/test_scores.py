import json

import numpy as np
import pytest

from minorkey.errors import DataError
from minorkey.evaluation.scores import ScoreTable, TrainingCost, build_scores
from minorkey.reporting.tables import markdown_table
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.segmentation.confusion import mean_iou
from minorkey.tasks.segmentation.evidence import PixelEvidence

CLASSES = ["road", "sky", "car"]


def matrices(seed, scale=1):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 50, (6, 3, 3)) + scale * np.eye(3, dtype=np.int64) * 100


def table(**changes):
    evidence = {
        "clear": ("source", PixelEvidence.of_matrices(matrices(0, 5))),
        "fog": ("unseen", PixelEvidence.of_matrices(matrices(1))),
        "night": ("unseen", PixelEvidence.of_matrices(matrices(2, 0))),
    }
    settings = {
        "run": "soma-0",
        "method": "soma",
        "classes": CLASSES,
        "protocol": Protocol(label_space="tiny"),
        "training": TrainingCost(steps=10),
    }
    return build_scores(evidence | changes.pop("domains", {}), **(settings | changes))


def test_mean_and_worst_are_over_unseen_domains_only():
    scores = table()
    fog, night = (mean_iou(matrices(*args).sum(0)) for args in ((1,), (2, 0)))
    assert scores.unseen_mean.score == pytest.approx((fog + night) / 2)
    assert scores.unseen_mean.interval[0] < scores.unseen_mean.score < scores.unseen_mean.interval[1]
    assert (scores.worst.domain, scores.worst.score) == ("night", pytest.approx(night))
    assert [score.domain for score in scores.unseen] == ["fog", "night"]


def test_a_plus_in_the_name_of_a_domain_does_not_make_it_a_corruption_of_another():
    evidence = PixelEvidence.of_matrices(matrices(3))
    scores = table(domains=dict.fromkeys(("fog+rain", "fog+night@3", "fog+rain+night@3"), ("unseen", evidence)))
    assert [score.domain for score in scores.unseen] == ["fog", "night", "fog+rain"]


def test_source_alone_has_no_unseen_mean():
    settings = {"run": "r", "method": "soma", "classes": CLASSES, "training": TrainingCost()}
    clear = PixelEvidence.of_matrices(matrices(0))
    scores = build_scores({"clear": ("source", clear)}, protocol=Protocol(label_space="tiny"), **settings)
    assert scores.unseen_mean is None
    assert scores.worst is None


def test_missing_class_is_null_in_json_and_named():
    without_car = matrices(3)
    without_car[:, 2] = without_car[:, :, 2] = 0
    scores = table(domains={"snow": ("unseen", PixelEvidence.of_matrices(without_car))})
    values = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    snow = values["domains"][-1]
    assert snow["by_class"]["car"] is None
    assert snow["class_details"]["accuracy"]["car"] is None
    assert snow["missing_classes"] == ["car"]


def test_unscored_classes_change_the_score():
    scores = table(protocol=Protocol(label_space="tiny", classes_scored=("road", "sky")))
    assert scores.domains[0].missing_classes == ["car"]
    two = matrices(0, 5).sum(0)
    two[2] = 0
    assert scores.domains[0].score == pytest.approx(mean_iou(two, "skip"))


BLANK = {"blank": ("unseen", PixelEvidence.of_matrices(np.zeros((2, 3, 3), dtype=np.int64)))}


def test_a_domain_without_labels_has_no_score_and_changes_no_other():
    scores, others = table(domains=BLANK), table()
    assert scores.domains == others.domains
    assert (scores.unseen_mean, scores.worst) == (others.unseen_mean, others.worst)
    values = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    blank = {"domain": "blank", "role": "unseen", "images": 2, "score": None}
    assert values["unscored"] == [blank | {"why": "no labelled pixel of a scored class"}]
    assert ScoreTable.from_json(values) == scores
    assert scores.warnings[0].startswith("domain 'blank' has no labelled pixel of a scored class: its score is none")
    text = markdown_table([scores, others.model_copy(update={"run": "other"})])
    assert "| none |" in text
    assert "blank: no labelled pixel of a scored class, so its score is none, and no mean has it." in text
    del values["unscored"]
    assert ScoreTable.from_json(values).unscored == [], "files of before have no such key"


def test_a_domain_of_one_class_is_told_of():
    road = np.zeros((2, 3, 3), dtype=np.int64)
    road[:, 0, 0] = 9
    (warning,) = table(domains={"tar": ("unseen", PixelEvidence.of_matrices(road))}).warnings
    assert warning.startswith("domain 'tar' shows one class alone, 'road': ")
    road[:, 0, 1] = 1
    assert not table(domains={"tar": ("unseen", PixelEvidence.of_matrices(road))}).warnings


def test_no_domain_with_labels_is_no_score_at_all():
    settings = {"run": "r", "method": "soma", "classes": CLASSES, "training": TrainingCost()}
    scores = build_scores(BLANK, protocol=Protocol(label_space="tiny"), **settings)
    assert (scores.domains, scores.unseen_mean, scores.worst) == ([], None, None)
    assert "none" in markdown_table([scores])


def test_survives_json():
    scores = table()
    assert ScoreTable.from_json(json.loads(json.dumps(scores.to_json()))) == scores


def test_json_has_the_documented_keys():
    assert set(table().to_json()) == {
        *("run", "method", "task", "label_space", "classes", "protocol"),
        *("domains", "unscored", "unseen_mean", "worst", "training", "adaptation"),
    }


def test_error_texts(tmp_path):
    with pytest.raises(DataError, match=r"no metrics\.json in .*run `minorkey evaluate`"):
        ScoreTable.read(tmp_path / "metrics.json")
    (tmp_path / "metrics.json").write_text("{ not json")
    with pytest.raises(DataError, match=r"cannot read .*metrics\.json"):
        ScoreTable.read(tmp_path / "metrics.json")
    (tmp_path / "metrics.json").write_text('{"run": 3}')
    with pytest.raises(DataError, match=r"metrics\.json: not a score table: run: ") as caught:
        ScoreTable.read(tmp_path / "metrics.json")
    assert "\n" not in str(caught.value)


def test_an_older_file_asks_for_another_evaluation(tmp_path):
    values = table().to_json()
    values["domains"][0]["miou"] = values["domains"][0].pop("score")
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    with pytest.raises(
        DataError, match=r"metrics\.json: not a score table: domains\.0\.score: .*`minorkey evaluate` again"
    ):
        ScoreTable.read(tmp_path / "metrics.json")
