"""How the predictions of a task are judged: what is noted of an image, and which pictures of it are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from minorkey.data.sample import Sample
from minorkey.errors import DataError
from minorkey.labels import LabelSpace
from minorkey.system.storage import write_json
from minorkey.tasks.detection.box_rows import Found, Truth
from minorkey.tasks.detection.evidence import BoxEvidence
from minorkey.tasks.detection.prediction import DetectionPrediction
from minorkey.tasks.evidence import Evidence
from minorkey.tasks.prediction import SegmentationPrediction, save_png
from minorkey.tasks.predictor import Started
from minorkey.tasks.protocol import Protocol as TestProtocol
from minorkey.tasks.segmentation.confusion import confusion_matrix
from minorkey.tasks.segmentation.evidence import Cells, PixelEvidence, cells_of

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


class BoxNote(NamedTuple):
    """Objects and detections of one image: the columns of `Truth` and `Found` but for the image."""

    truth: Columns
    found: Columns


class Examiner(Protocol):
    """Judges the images of one task, one at a time."""

    def note(self, sample: Sample, started: Started) -> Any:
        """What is kept of one image; waits for the device.

        Raises:
            DataError: the sample has no labels.
        """
        ...

    def evidence(self, notes: Sequence[Any]) -> Evidence:
        """The notes of all images of a domain, put together."""
        ...

    def keep(self, sample: Sample, prediction: Any, folder: Path) -> None:
        """Write the pictures that the page shows of an image."""
        ...


def examiner_of(protocol: TestProtocol, space: LabelSpace) -> Examiner:
    """The one whose evidence gives the metric of a protocol."""
    return PixelExaminer(space) if protocol.metric == "miou" else BoxExaminer(space, protocol)


@dataclass(frozen=True)
class PixelExaminer:
    """Judges segmentation: notes the cells of a confusion matrix, keeps the image and both label maps."""

    space: LabelSpace

    def note(self, sample: Sample, started: Started) -> Cells:
        """The cells of the confusion matrix, counted on the device."""
        if sample.labels is None:
            raise _unlabelled(sample, "labels")
        return cells_of(confusion_matrix(started.seen, sample.labels, len(self.space)))

    def evidence(self, notes: Sequence[Cells]) -> PixelEvidence:
        """Those of all images of a domain."""
        return PixelEvidence.of(notes, len(self.space))

    def keep(self, sample: Sample, prediction: SegmentationPrediction, folder: Path) -> None:
        """Write `image.png`, `truth.png` and `prediction.png`, the last two as train ids."""
        assert sample.labels is not None, "what was noted has labels"
        for name, pixels in (("image", sample.image), ("truth", sample.labels), ("prediction", prediction.labels)):
            save_png(Image.fromarray(pixels), folder / f"{name}.png")


@dataclass(frozen=True)
class BoxExaminer:
    """Judges detection: notes objects and detections, keeps the image and a list of both."""

    space: LabelSpace
    protocol: TestProtocol

    def note(self, sample: Sample, started: Started) -> BoxNote:
        """The objects and the detections."""
        return BoxNote(_objects(sample), _detections(started()))

    def evidence(self, notes: Sequence[BoxNote]) -> BoxEvidence:
        """Those of all images of a domain."""
        truth = Truth(*_stacked([note.truth for note in notes]))
        found = Found(*_stacked([note.found for note in notes]))
        return BoxEvidence(
            len(notes), len(self.space), truth, found, self.protocol.metric, self.protocol.most_detections
        )

    def keep(self, sample: Sample, prediction: DetectionPrediction, folder: Path) -> None:
        """Write `image.png` and `boxes.json`: `truth` and `prediction`, boxes in pixels with the names of classes."""
        save_png(Image.fromarray(sample.image), folder / "image.png")
        truth, found = self._listed(_objects(sample), "crowd"), self._listed(_detections(prediction), "score")
        write_json(folder / "boxes.json", {"truth": truth, "prediction": found})

    def _listed(self, columns: Columns, last: str) -> list[dict[str, Any]]:
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [{"box": box, "class": self.space.classes[place], last: value} for box, place, value in rows]


def _objects(sample: Sample) -> Columns:
    """Boxes, classes, and which are crowds."""
    if sample.boxes is None or sample.box_classes is None:
        raise _unlabelled(sample, "boxes")
    crowd = np.zeros(len(sample.boxes), dtype=np.bool) if sample.crowd is None else sample.crowd
    return sample.boxes, sample.box_classes, crowd


def _detections(prediction: DetectionPrediction) -> Columns:
    """Boxes, classes and scores."""
    return prediction.boxes, prediction.classes, prediction.scores


def _stacked(images: Sequence[Columns]) -> list[np.ndarray]:
    """The place of the image of each row, and the columns of all images one below the other."""
    places = np.repeat(np.arange(len(images)), [len(columns[0]) for columns in images])
    return [places, *(np.concatenate(column) for column in zip(*images, strict=True))]


def _unlabelled(sample: Sample, what: str) -> DataError:
    return DataError(f"{sample.domain}/{sample.key} has no {what}; only labelled images can be judged on")
