"""Evaluated images as the page shows them: the true boxes, and each run's hits, misses and false alarms."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from PIL import Image

from minorkey.data.sample import Sample
from minorkey.labels import LabelSpace
from minorkey.plotting.page_template import page_template
from minorkey.plotting.style import css
from minorkey.system.reading import json_of, reading
from minorkey.system.regular import regular_bytes
from minorkey.system.storage import save_png, write_json
from minorkey.tasks.detection.box_matching import match_boxes
from minorkey.tasks.detection.drawing import contrast
from minorkey.tasks.detection.metric import Columns, detections_of, objects_of
from minorkey.tasks.detection.prediction import DetectionPrediction
from minorkey.tasks.gallery import GalleryWords, Kept, Label
from minorkey.tasks.pictures import photo, read_picture

LEAST_SCORE = 0.3
"""Detections below this score are not shown: a detector names all it can think of, down to a score of 0."""
MAX_WIDTH = 640
"""Of an image, in pixels; wider than label maps, for objects are small, and all runs share the one image."""

Kind = Literal["truth", "crowd", "hit", "miss", "false", "uncounted"]
Part = Literal["truth", "prediction"]
WORDS: dict[Kind, str] = {"hit": "hit", "false": "false alarm", "uncounted": "does not count"}


@dataclass(frozen=True)
class Boxes:
    """Boxes of one image as `boxes.json` has them."""

    boxes: np.ndarray  # (N, 4) x0 y0 x1 y1 in pixels
    classes: np.ndarray  # (N,) train ids
    scores: np.ndarray  # (N,), 1 for the truth
    crowd: np.ndarray  # (N,) bool


@dataclass(frozen=True)
class Mark:
    """One box on a picture."""

    kind: Kind
    box: tuple[float, float, float, float]  # x, y, width, height in pixels of the image
    colour: str  # of its class
    edge: str  # a colour that the one above can be seen on
    text: str  # shown where the mouse points at it


@dataclass(frozen=True)
class BoxPrediction:
    """What one run found in a scene."""

    marks: list[Mark]

    def count(self, kind: Kind) -> int:
        """How many marks of a kind there are."""
        return sum(mark.kind == kind for mark in self.marks)


@dataclass(frozen=True)
class BoxScene:
    """One sample with the predictions of all runs, `None` where a run did not keep it."""

    domain: str
    key: str
    image: str  # data URI
    size: tuple[int, int]  # width and height of the image that the boxes are in
    truth: list[Mark]
    predictions: list[BoxPrediction | None]

    def html(self, runs: Sequence[Label], place: str) -> Markup:
        """The scene as it stands on the page."""
        return Markup(_template().box_pictures(self, runs, f"scene-{place}"))


def keep(sample: Sample, prediction: DetectionPrediction, folder: Path) -> None:
    """Write `image.png` and `boxes.json`: `truth` and `prediction`, boxes in pixels with the names of classes."""
    save_png(Image.fromarray(sample.picture), folder / "image.png")
    truth = _listed(objects_of(sample), prediction.space, "crowd")
    found = _listed(detections_of(prediction), prediction.space, "score")
    write_json(folder / "boxes.json", {"truth": truth, "prediction": found})


def scene(kept: Kept, space: LabelSpace) -> BoxScene:
    """A kept image.

    Raises:
        DataError: a file of it cannot be read.
    """
    image, truth = read_picture(kept.any / "image.png", "RGB"), _read(kept.any, "truth", space)
    predictions = kept.of_each(lambda folder: BoxPrediction(_matched(_read(folder, "prediction", space), truth, space)))
    height, width = image.shape[:2]
    marks = _truth_marks(truth, space)
    return BoxScene(kept.domain, kept.key, photo(image, MAX_WIDTH), (width, height), marks, predictions)


def classes_shown(folders: Iterable[Path], space: LabelSpace) -> set[int]:
    """Train ids of the boxes of kept images, true and shown."""
    parts: tuple[Part, ...] = ("truth", "prediction")
    return {int(index) for folder in folders for part in parts for index in _read(folder, part, space).classes}


def words() -> GalleryWords:
    """What stands around the scenes."""
    footnote = (
        f"Detections with a score of at least {LEAST_SCORE} are shown. A hit has the class of a true box and an IoU of "
        "at least 0.5 with it that no surer hit has taken; dotted regions and what is found in them do not count. "
        "Point at a box for its class and score."
    )
    return GalleryWords("Hits and errors", footnote, wide=True, wipe=True, marks=Markup(_template().mark_legend()))


def _template() -> Any:
    return page_template("boxes.html.j2").module


def _listed(columns: Columns, space: LabelSpace, last: str) -> list[dict[str, Any]]:
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [{"box": box, "class": space.classes[place], last: value} for box, place, value in rows]


def _truth_marks(truth: Boxes, space: LabelSpace) -> list[Mark]:
    """The marks of the truth alone."""
    marks = [
        _mark("crowd" if crowd else "truth", truth, index, space, ": does not count" if crowd else "")
        for index, crowd in enumerate(truth.crowd)
    ]
    return _large_first(marks)


def _matched(found: Boxes, truth: Boxes, space: LabelSpace) -> list[Mark]:
    """The marks of what was found, and of what was missed."""
    matches = match_boxes(found.boxes, found.classes, truth.boxes, truth.classes, truth.crowd)
    marks = [_mark("miss", truth, index, space, ": missed") for index in np.flatnonzero(matches.missed).tolist()]
    for index, (hit, left_out, score) in enumerate(zip(matches.hits, matches.left_out, found.scores, strict=True)):
        kind: Kind = "hit" if hit >= 0 else "uncounted" if left_out else "false"
        marks.append(_mark(kind, found, index, space, f" {score:.2f}: {WORDS[kind]}"))
    return _large_first(marks)


def _mark(kind: Kind, boxes: Boxes, index: int, space: LabelSpace, text: str) -> Mark:
    x0, y0, x1, y1 = (round(float(value), 1) for value in boxes.boxes[index])
    colour = space.colours[boxes.classes[index]].tolist()
    size = round(x1 - x0, 1), round(y1 - y0, 1)
    return Mark(kind, (x0, y0, *size), css(colour), css(contrast(colour)), space.classes[boxes.classes[index]] + text)


def _large_first(marks: list[Mark]) -> list[Mark]:
    """Small boxes come last, on top: the mouse finds them inside large ones."""
    return sorted(marks, key=lambda mark: -mark.box[2] * mark.box[3])


def _read(folder: Path, part: Part, space: LabelSpace) -> Boxes:
    """One part of a `boxes.json`; of a prediction the boxes that are shown, the surest first."""
    path = folder / "boxes.json"
    with reading(path, "run `minorkey evaluate` again"):
        entries: list[dict[str, Any]] = json_of(regular_bytes(path))[part]
        entries = sorted(entries, key=lambda entry: -entry.get("score", 1.0))
        kept = [entry for entry in entries if entry.get("score", 1.0) >= LEAST_SCORE]
        return Boxes(
            boxes=np.array([entry["box"] for entry in kept], np.float64).reshape(-1, 4),
            classes=np.array([space.classes.index(entry["class"]) for entry in kept], np.int64),
            scores=np.array([entry.get("score", 1.0) for entry in kept], np.float64),
            crowd=np.array([entry.get("crowd", False) for entry in kept], bool),
        )
