"""How detection is scored: the average precision of COCO or of Pascal VOC, from objects and detections."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minorkey.data.sample import Sample
from minorkey.tasks.detection.box_rows import Found, Truth
from minorkey.tasks.detection.evidence import BoxEvidence
from minorkey.tasks.detection.matching import Rule
from minorkey.tasks.detection.prediction import DetectionPrediction
from minorkey.tasks.evidence import unlabelled
from minorkey.tasks.metric import Evaluator, Metric
from minorkey.tasks.predictor import Started
from minorkey.tasks.protocol import Protocol

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


class BoxNote(NamedTuple):
    """Objects and detections of one image: the columns of `Truth` and `Found` but for the image."""

    truth: Columns
    found: Columns


class BoxEvaluator(Evaluator):
    """Notes the objects and the detections of an image."""

    def __init__(self, num_classes: int, protocol: Protocol, rule: Rule = "coco") -> None:
        super().__init__(num_classes, protocol)
        self.rule = rule

    def note(self, sample: Sample, started: Started) -> BoxNote:
        """The objects and the detections."""
        return BoxNote(objects_of(sample), detections_of(started()))

    def evidence(self, notes: Sequence[BoxNote]) -> BoxEvidence:
        """Those of all images of a domain."""
        truth = Truth(*_stacked([note.truth for note in notes]))
        found = Found(*_stacked([note.found for note in notes]))
        return BoxEvidence(len(notes), self.num_classes, truth, found, self.rule, self.protocol.most_detections)

    def restored(self, arrays: Mapping[str, NDArray]) -> dict[str, BoxEvidence]:
        """From the columns of both tables."""
        return BoxEvidence.restored(arrays, self.num_classes, self.rule, self.protocol.most_detections)


def objects_of(sample: Sample) -> Columns:
    """Boxes, classes, and which are crowds.

    Raises:
        DataError: the sample has no boxes.
    """
    if sample.boxes is None or sample.box_classes is None:
        raise unlabelled(sample, "boxes")
    crowd = np.zeros(len(sample.boxes), dtype=np.bool) if sample.crowd is None else sample.crowd
    return sample.boxes, sample.box_classes, crowd


def detections_of(prediction: DetectionPrediction) -> Columns:
    """Boxes, classes and scores."""
    return prediction.boxes, prediction.classes, prediction.scores


def _stacked(images: Sequence[Columns]) -> list[np.ndarray]:
    """The place of the image of each row, and the columns of all images one below the other."""
    places = np.repeat(np.arange(len(images)), [len(columns[0]) for columns in images])
    return [places, *(np.concatenate(column) for column in zip(*images, strict=True))]


def _precision(name: str, rule: Rule, rules: str, meaning: str) -> Metric:
    """A row: average precision by a rule."""
    return Metric(
        name,
        f"Average precision {meaning}, averaged over the classes that the labels of a domain show.",
        partial(BoxEvaluator, rule=rule),
        class_name=name,
        rule=f"{rules}, {{protocol.most_detections}} detections an image",
        evidence_file="detections.safetensors",
    )


METRICS = {
    "coco": _precision(
        "AP",
        "coco",
        "AP of COCO",
        "by the rules of COCO: over 101 recall levels and the IoU thresholds 0.50, 0.55 to 0.95",
    ),
    "voc": _precision(
        "AP50",
        "voc",
        "AP50 of Pascal VOC, all points",
        "at IoU 0.50 by the rules of Pascal VOC, the area under the curve of precision over recall",
    ),
    "voc07": _precision(
        "AP50",
        "voc07",
        "AP50 of Pascal VOC 2007, 11 points",
        "at IoU 0.50 by the rules of Pascal VOC 2007, over 11 recall levels",
    ),
}
