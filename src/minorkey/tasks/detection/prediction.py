"""The predicted objects of an image."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from minorkey.labels import LabelSpace
from minorkey.system.storage import write_text
from minorkey.tasks.detection.box_matching import match_boxes
from minorkey.tasks.detection.drawing import draw_boxes
from minorkey.tasks.prediction import Difference, Prediction, read_saved

SURE = 0.3
"""The least score of the boxes that are drawn and compared."""

LOST, NEW = (43, 131, 186), (228, 87, 46)
"""Colours of boxes that another prediction lacks, or has beside those of this one."""


@dataclass(frozen=True)
class DetectionPrediction(Prediction):
    """The objects of an image, the surest first."""

    folder = "boxes"
    suffix = ".json"
    columns = ("boxes", "scores", "classes")

    boxes: np.ndarray  # (N, 4) float32, x0 y0 x1 y1 in pixels; x1 y1 are exclusive
    scores: np.ndarray  # (N,) float32 in [0, 1], descending
    classes: np.ndarray  # (N,) int64 train ids
    image: np.ndarray  # (H, W, 3) uint8, what was looked at
    space: LabelSpace

    @property
    def names(self) -> list[str]:
        """Class name of each box."""
        return [self.space.classes[index] for index in self.classes]

    def draw(self, threshold: float = SURE) -> Image.Image:
        """The image with boxes in the colours of their classes, names and scores; `threshold` is the least score."""
        shown = self.scores >= threshold
        colours = [tuple(colour) for colour in self.space.colours[self.classes[shown]].tolist()]
        texts = [f"{name} {score:.2f}" for name, score in zip(self.names, self.scores, strict=True)]
        return draw_boxes(self.image, self.boxes[shown], colours, texts[: len(colours)])

    def found(self) -> dict[str, str]:
        """How many objects of each class are drawn, the most first."""
        names = Counter(name for name, score in zip(self.names, self.scores, strict=True) if score >= SURE)
        return {name: str(count) for name, count in names.most_common()}

    def compared(self, other: Self) -> Difference | None:
        """The objects that are drawn and have no partner of their class at an IoU of 0.5; None for other classes."""
        if self.space.classes != other.space.classes:
            return None
        here, there = self.scores >= SURE, other.scores >= SURE
        boxes, others = self.boxes[here], other.boxes[there]
        none = np.zeros(len(others), bool)
        matches = match_boxes(boxes, self.classes[here], others, other.classes[there], none)
        alone, missed = matches.hits < 0, matches.missed
        colours = [LOST] * int(alone.sum()) + [NEW] * int(missed.sum())
        texts = [f"lost: {self.names[i]}" for i in np.flatnonzero(here)[alone]]
        texts += [f"new: {other.names[i]}" for i in np.flatnonzero(there)[missed]]
        picture = draw_boxes(self.image, np.concatenate([boxes[alone], others[missed]]), colours, texts)
        count = len(boxes) + int(missed.sum())
        return Difference(f"{len(colours)} of {count} objects differ", picture)

    def to_coco(self, image_id: int | str) -> list[dict[str, Any]]:
        """All boxes in the form of COCO results, `bbox` being `x y width height`.

        `category_id` is the train id; `category_name` is not of COCO's, whose readers leave it alone.
        """
        corners = self.boxes.astype(np.float64)
        sizes = corners[:, 2:] - corners[:, :2]
        return [
            {
                "image_id": image_id,
                "category_id": int(category),
                "category_name": name,
                "bbox": [round(float(value), 2) for value in (*corner[:2], *size)],
                "score": round(float(score), 5),
            }
            for corner, size, category, name, score in zip(
                corners, sizes, self.classes, self.names, self.scores, strict=True
            )
        ]

    def line(self) -> dict[str, Any]:
        """All boxes, in the form of COCO results without the id of an image."""
        entries = self.to_coco(0)
        return {"objects": [{key: value for key, value in entry.items() if key != "image_id"} for entry in entries]}

    def save(self, path: str | Path) -> None:
        """Write the boxes as JSON in the form of COCO results; the image's id is the stem of the file's name.

        Raises:
            StorageError: it cannot be written.
        """
        _write_results(Path(path), self.to_coco(Path(path).stem))

    @classmethod
    def summarise(cls, saved: Mapping[str, Path], path: Path) -> None:
        """Write one COCO results file; the id of an image is its name.

        A name and no number: numbers of our own would be those of other images in somebody's annotation file, and
        the scores computed from them wrong without a word.

        Raises:
            StorageError: a saved file cannot be read, or the new one not written.
        """
        results = [entry | {"image_id": name} for name, file in saved.items() for entry in read_saved(file)]
        _write_results(path.with_name(f"{path.name}.json"), results)


def _write_results(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    lines = ",\n".join(json.dumps(entry, allow_nan=False, ensure_ascii=False) for entry in results)
    write_text(path, f"[\n{lines}\n]\n" if lines else "[]\n")
