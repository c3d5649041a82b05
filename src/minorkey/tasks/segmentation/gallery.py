"""Evaluated images as the page shows them: label maps, and which pixels are wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from minorkey.data.sample import Sample
from minorkey.errors import DataError
from minorkey.labels import IGNORE_INDEX, LabelSpace
from minorkey.system.storage import save_png
from minorkey.tasks.gallery import GalleryWords, Kept, Scene, Shown
from minorkey.tasks.pictures import Pixels, label_map, photo, read_picture
from minorkey.tasks.segmentation.prediction import SegmentationPrediction

WRONG = (226, 35, 48)

WORDS = GalleryWords(
    errors="Errors in red",
    footnote="“Right” is the share of labelled pixels of that image whose class is predicted correctly.",
    unlabelled=True,
    wipe=True,
)


@dataclass(frozen=True)
class LabelMap(Shown):
    """What one run made of the pixels of a scene."""

    right: float | None = None  # share of labelled pixels, percent; None: nothing is labelled


def keep(sample: Sample, prediction: SegmentationPrediction, folder: Path) -> None:
    """Write `image.png`, `truth.png` and `prediction.png`, the last two as train ids."""
    assert sample.labels is not None, "what was noted has labels"
    for name, pixels in (("image", sample.picture), ("truth", sample.labels), ("prediction", prediction.labels)):
        save_png(Image.fromarray(pixels), folder / f"{name}.png")


def scene(kept: Kept, space: LabelSpace) -> Scene:
    """A kept image; a run that was judged on another version of it, by its labels, has nothing to show.

    Raises:
        DataError: A file cannot be read, or a prediction has another size than its truth.
    """
    image, truth = read_picture(kept.any / "image.png", "RGB"), read_picture(kept.any / "truth.png", "L")

    def shown(folder: Path) -> LabelMap | None:
        same = np.array_equal(read_picture(folder / "truth.png", "L"), truth)
        return _prediction(image, truth, folder / "prediction.png", space) if same else None

    predictions = kept.of_each(shown)
    return Scene(kept.domain, kept.key, photo(image), label_map(truth, space), predictions)


def classes_shown(folders: Iterable[Path]) -> set[int]:
    """Train ids that occur in the truth of any of these."""
    found = [np.unique(read_picture(folder / "truth.png", "L")) for folder in folders]
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


def _prediction(image: Pixels, truth: Pixels, path: Path, space: LabelSpace) -> LabelMap:
    predicted = read_picture(path, "L")
    if predicted.shape != truth.shape:
        raise DataError(f"{path} has size {predicted.shape}, its truth {truth.shape}; evaluate the run again")
    counted = truth != IGNORE_INDEX
    right = 100 * float((truth == predicted)[counted].mean()) if counted.any() else None
    text = "" if right is None else f"{right:.0f} % right"
    return LabelMap(label_map(predicted, space), photo(error_map(image, truth, predicted)), text, right)
