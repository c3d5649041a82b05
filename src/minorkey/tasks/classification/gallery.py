"""Evaluated images on the page: the image, its class, and what each run took it for."""

from pathlib import Path

from PIL import Image

from minorkey.data.sample import Sample
from minorkey.labels import LabelSpace
from minorkey.system.reading import json_of, reading
from minorkey.system.regular import regular_bytes
from minorkey.system.storage import save_png, write_json
from minorkey.tasks.classification.prediction import CategoryPrediction
from minorkey.tasks.gallery import GalleryWords, Kept, Scene, Shown
from minorkey.tasks.pictures import photo, read_picture

WORDS = GalleryWords(footnote="Below a prediction stand the class and its probability; ✗ marks a wrong one.")


def keep(sample: Sample, prediction: CategoryPrediction, folder: Path) -> None:
    """Write `image.png`, `prediction.png` and `class.json`, with the truth."""
    save_png(Image.fromarray(sample.picture), folder / "image.png")
    save_png(prediction.draw(), folder / "prediction.png")
    write_json(
        folder / "class.json",
        {"truth": sample.category, "predicted": prediction.category, "confidence": round(prediction.confidence, 4)},
    )


def scene(kept: Kept, space: LabelSpace) -> Scene:
    """A kept image.

    Raises:
        DataError: a file cannot be read.
    """
    image = photo(read_picture(kept.any / "image.png", "RGB"))
    truth = _read(kept.any, space)[0]
    return Scene(kept.domain, kept.key, image, None, kept.of_each(lambda folder: _shown(folder, space)), truth)


def _shown(folder: Path, space: LabelSpace) -> Shown:
    truth, predicted, confidence = _read(folder, space)
    text = f"{'' if predicted == truth else '✗ '}{predicted} {confidence:.2f}"
    return Shown(photo(read_picture(folder / "prediction.png", "RGB")), text=text)


def _read(folder: Path, space: LabelSpace) -> tuple[str, str, float]:
    """The true class, the predicted one, and how sure that was."""
    file = folder / "class.json"
    with reading(file, "run `minorkey evaluate` again"):
        said = json_of(regular_bytes(file))
        return space.classes[said["truth"]], space.classes[said["predicted"]], float(said["confidence"])
