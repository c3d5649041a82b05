"""Predictions as the files that the test servers of Cityscapes and ACDC take.

Sources: README of cityscapesScripts (ids of `labels.py`, any name that holds city, sequence and frame number); for
ACDC, whose server takes train ids, the test commands of HRDA and MIC (arXiv 2204.13132, 2212.01322).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from minorkey.data.readers import Reader
from minorkey.errors import ConfigError
from minorkey.labels import LabelSpace
from minorkey.labels.legend import legend
from minorkey.system.names import below
from minorkey.system.progress import Reporter
from minorkey.system.storage import save_png
from minorkey.tasks.predictor import Predictor


@dataclass(frozen=True)
class SubmissionFormat:
    """How a test server wants its files: one 8-bit PNG per image, in the image's size and under its name."""

    ending: str  # of the images' names, behind the keys
    ids: Callable[[LabelSpace], np.ndarray]  # (K,) uint8, the id that is written for each train id


def _label_ids(space: LabelSpace) -> np.ndarray:
    written = {name: number for number, name in legend("cityscapes").ids.items()}
    return np.array([written[name] for name in space.classes], np.uint8)


def _train_ids(space: LabelSpace) -> np.ndarray:
    return np.arange(len(space), dtype=np.uint8)


FORMATS = {
    "cityscapes": SubmissionFormat("_leftImg8bit", _label_ids),
    "acdc": SubmissionFormat("_rgb_anon", _train_ids),
}


def write_predictions(
    predictor: Predictor, readers: list[Reader], layout: SubmissionFormat, folder: Path, console: Console
) -> int:
    """Predict every image of the readers into `folder`; what is there already is kept.

    Returns:
        The number of files written.

    Raises:
        ConfigError: the model tells other classes apart, or two images would have one file.
        DataError: an image cannot be read.
    """
    if predictor.space.name != "cityscapes19":
        raise ConfigError(
            f"a submission has the classes of label space 'cityscapes19', but this run tells those of "
            f"'{predictor.space.name}' apart; train with label_space=cityscapes19"
        )
    places = [(reader, index) for reader in readers for index in range(len(reader))]
    files = [below(folder, f"{Path(reader.key(index)).name}{layout.ending}.png") for reader, index in places]
    if len(set(files)) < len(files):
        raise ConfigError("two images would be written to one file; give only the data sets of one test server")
    ids, written = layout.ids(predictor.space), 0
    with Reporter(console, "writing predictions", len(places), unit="image") as reporter:
        for done, ((reader, index), file) in enumerate(zip(places, files, strict=True), start=1):
            if not file.is_file():
                labels = predictor.in_domain(reader.domain).predict_one(reader[index].image).labels
                save_png(Image.fromarray(ids[labels]), file)
                written += 1
            reporter.update(done, reader.domain)
    return written
