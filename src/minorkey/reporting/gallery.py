"""Scenes side by side: image, truth, and what each run predicted and got wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minorkey.data.sample import IGNORE_INDEX
from minorkey.errors import DataError
from minorkey.labels import LabelSpace
from minorkey.reporting.box_gallery import BoxScene, box_classes, box_scene
from minorkey.reporting.pictures import Pixels, label_map, photo, read_picture
from minorkey.reporting.runs import Place, Run

WRONG = (226, 35, 48)


@dataclass(frozen=True)
class Prediction:
    """What one run made of a scene; pictures as data URIs."""

    picture: str
    errors: str
    right: float | None  # share of labelled pixels, percent; None: nothing is labelled


@dataclass(frozen=True)
class Scene:
    """One sample with the predictions of all runs, `None` where a run did not keep it."""

    domain: str
    key: str
    image: str
    truth: str
    predictions: list[Prediction | None]


def build_gallery(
    runs: Sequence[Run], space: LabelSpace, per_domain: int = 2
) -> dict[str, list[Scene]] | dict[str, list[BoxScene]]:
    """The first `per_domain` kept samples of every domain, in the order of the score table.

    Args:
        runs: runs of one task.
        space: their label space.
        per_domain: how many.

    Raises:
        DataError: A file cannot be read, or a prediction has another size than its truth.
    """
    domains = dict.fromkeys(score.domain for run in runs for score in run.scores.domains)
    places = sorted({place for run in runs for place in run.samples})
    chosen = {domain: [place for place in places if place[0] == domain][:per_domain] for domain in domains}
    scene: Any = box_scene if of_boxes(runs) else _scene
    return {domain: [scene(place, runs, space) for place in kept] for domain, kept in chosen.items() if kept}


def of_boxes(runs: Sequence[Run]) -> bool:
    """Whether the runs' scenes are `BoxScene`s."""
    return any(run.scores.task == "detection" for run in runs)


def classes_shown(runs: Sequence[Run], space: LabelSpace) -> set[int]:
    """Train ids that occur in the truth of any kept sample, and in what is shown of predicted boxes."""
    if of_boxes(runs):
        return {index for run in runs for folder in run.samples.values() for index in box_classes(folder, space)}
    truths = {place: folder for run in runs for place, folder in run.samples.items()}
    found = [np.unique(read_picture(folder / "truth.png", "L")) for folder in truths.values()]
    return {int(value) for values in found for value in values} - {IGNORE_INDEX}


def error_map(image: Pixels, truth: Pixels, prediction: Pixels) -> Pixels:
    """Wrong pixels in red over the greyed, brightened image; ignored ones are dark.

    Args:
        image: `(H, W, 3)` uint8.
        truth: Train ids `(H, W)`, 255 where the pixel does not count.
        prediction: Train ids `(H, W)`.

    Returns:
        `(H, W, 3)` uint8.
    """
    grey = image.mean(axis=-1, keepdims=True).repeat(3, axis=-1) * 0.45 + 130
    grey[truth == IGNORE_INDEX] *= 0.4
    grey[(truth != prediction) & (truth != IGNORE_INDEX)] = WRONG
    return grey.astype(np.uint8)


def _scene(place: Place, runs: Sequence[Run], space: LabelSpace) -> Scene:
    folder = next(run.samples[place] for run in runs if place in run.samples)
    image, truth = read_picture(folder / "image.png", "RGB"), read_picture(folder / "truth.png", "L")
    predictions = [
        _prediction(image, truth, run.samples[place] / "prediction.png", space) if place in run.samples else None
        for run in runs
    ]
    return Scene(*place, photo(image), label_map(truth, space), predictions)


def _prediction(image: Pixels, truth: Pixels, path: Path, space: LabelSpace) -> Prediction:
    predicted = read_picture(path, "L")
    if predicted.shape != truth.shape:
        raise DataError(f"{path} has size {predicted.shape}, its truth {truth.shape}; evaluate the run again")
    counted = truth != IGNORE_INDEX
    right = 100 * float((truth == predicted)[counted].mean()) if counted.any() else None
    return Prediction(label_map(predicted, space), photo(error_map(image, truth, predicted)), right)
