"""Runs of detection in tables, verdict and page."""

import json

import numpy as np
import pytest

from minorkey.evaluation.evidence_files import write_evidence
from minorkey.evaluation.scores import TrainingCost, build_scores
from minorkey.labels import label_space
from minorkey.reporting.differences import gap
from minorkey.reporting.page import build_report
from minorkey.reporting.runs import read_run
from minorkey.reporting.tables import build_grid, markdown_table
from minorkey.reporting.verdict import verdict
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.detection.box_rows import Found, Truth
from minorkey.tasks.detection.evidence import BoxEvidence
from minorkey.tasks.protocol import Protocol

SPACE = label_space("street7")


def _evidence(domain, quality, metric, images=12):
    """Three objects an image; a share `quality` of them is found, with a score that tells little."""
    rng = np.random.default_rng(len(domain))
    corners = rng.uniform(0, 80, (3 * images, 2))
    boxes = np.concatenate([corners, corners + 20], axis=1).astype(np.float32)
    places, classes = np.repeat(np.arange(images), 3), rng.integers(0, 3, 3 * images)
    kept = rng.random(len(boxes)) < quality
    scores = rng.random(len(boxes)).astype(np.float32)
    truth = Truth(places, boxes, classes, np.zeros(len(boxes), dtype=bool))
    return BoxEvidence(images, len(SPACE), truth, Found(places[kept], boxes[kept], classes[kept], scores[kept]), metric)


@pytest.fixture
def detection_run(tmp_path):
    """Write a run: `detection_run("soma", 0.9)`."""

    def write(method, quality, metric="coco"):
        folder = RunFolder(tmp_path / f"{method}-{metric}")
        protocol = Protocol(label_space=SPACE.name, metric=metric, detections=100)
        evidence = {name: _evidence(name, quality, metric) for name in ("clear", "fog", "night")}
        scores = build_scores(
            {name: ("source" if name == "clear" else "unseen", each) for name, each in evidence.items()},
            run=method, method=method, classes=SPACE.classes, protocol=protocol, training=TrainingCost(),
            task="detection",
        )  # fmt: skip
        write_evidence(folder, protocol, evidence)
        folder.metrics.write_text(json.dumps(scores.to_json()))
        return folder.path

    return write


def test_verdict_speaks_of_ap_and_pairs_the_runs(detection_run):
    good, bad = read_run(detection_run("soma", 0.9)), read_run(detection_run("lora", 0.4))
    difference = gap(good, bad, [score.domain for score in good.scores.unseen])
    assert difference.value == pytest.approx(good.scores.unseen_mean.score - bad.scores.unseen_mean.score)
    found = verdict([good, bad])
    assert found.headline.startswith("In unseen domains, SoMA is ")
    assert " % AP against " in found.headline
    assert "paired bootstrap" in found.certainty[0]


def test_tables_name_the_metric_and_keep_others_apart(detection_run):
    runs = [detection_run("soma", 0.9), detection_run("lora", 0.4), detection_run("full", 0.6, "voc07")]
    tables = [read_run(folder).scores for folder in runs]
    assert markdown_table(tables[:2]).startswith("| AP, % | clear (source) | fog |")
    assert build_grid(tables[2:]).metric.name == "AP50"
    (footnote,) = build_grid(tables).footnotes
    assert "AP50 of Pascal VOC 2007, 11 points, 100 detections an image" in footnote


def test_page_explains_the_metric(detection_run, tmp_path):
    page = build_report([detection_run("soma", 0.9, "voc07")], tmp_path / "report.html").read_text()
    assert "AP50 in %, with the 95 % bootstrap interval" in page
    assert "by the rules of Pascal VOC 2007, over 11 recall levels" in page
    assert "IoU in %, averaged" not in page
    assert "mIoU" not in page
    assert '<th scope="row">AP small</th>' in page
