"""Predictions as the files that the test servers of Cityscapes and ACDC take.

Sources: README of cityscapesScripts (ids of `labels.py`, any name that holds city, sequence and frame number); for
ACDC, whose server takes train ids, the test commands of HRDA and MIC (arXiv 2204.13132, 2212.01322).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console

from minorkey.data.readers import Reader
from minorkey.errors import ConfigError
from minorkey.labels import LabelSpace, label_space
from minorkey.labels.legend import legend
from minorkey.system.names import below
from minorkey.system.processes import from_main, gathered, process_count, process_index, together
from minorkey.system.progress import Reporter
from minorkey.system.storage import write_atomically
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


WRITER = "minorkey"
"""Keyword of the text in a file that says which model wrote it."""

FORMATS = {
    "cityscapes": SubmissionFormat("_leftImg8bit", _label_ids),
    "acdc": SubmissionFormat("_rgb_anon", _train_ids),
}


def write_predictions(
    predictor: Predictor, readers: list[Reader], layout: SubmissionFormat, folder: Path, console: Console, model: str
) -> int:
    """Predict every image of the readers into `folder`; what the same model wrote there already is kept.

    Args:
        predictor: the model and its protocol.
        readers: of the images.
        layout: that of the test server.
        folder: where to write.
        console: for the progress.
        model: names model and protocol; every file has it as a text.

    Returns:
        The number of files written, by all processes of the run, which share the images.

    Raises:
        ConfigError: the model tells other classes apart, two images would have one file, or one is there that this
            model did not write.
        DataError: an image cannot be read.
    """
    if predictor.space.classes != label_space("cityscapes19").classes:
        raise ConfigError(
            f"a submission has the classes of label space 'cityscapes19', but this run tells those of "
            f"'{predictor.space.name}' apart; train with label_space=cityscapes19"
        )
    places = [(reader, index) for reader in readers for index in range(len(reader))]
    files = [below(folder, f"{Path(reader.key(index)).name}{layout.ending}.png") for reader, index in places]
    if len(set(files)) < len(files):
        raise ConfigError("two images would be written to one file; give only the data sets of one test server")
    from_main(lambda: _refuse_others(files, model))
    mine = list(zip(places, files, strict=True))[process_index() :: process_count()]
    ids, written = layout.ids(predictor.space), 0
    with together(), Reporter(console, "writing predictions", len(mine), unit="image") as reporter:
        for done, ((reader, index), file) in enumerate(mine, start=1):
            if not file.is_file():
                labels = predictor.in_domain(reader.domain).predict_one(reader[index].image).labels
                _write(Image.fromarray(ids[labels]), file, model)
                written += 1
            reporter.update(done, reader.domain)
    return int(gathered([written]).sum())


def _refuse_others(files: list[Path], model: str) -> None:
    if foreign := next((file for file in files if os.path.lexists(file) and _writer(file) != model), None):
        raise ConfigError(f"'{foreign}' is there already, and this model did not write it; choose another --out")


def _write(image: Image.Image, file: Path, model: str) -> None:
    note = PngInfo()
    note.add_text(WRITER, model)
    write_atomically(file, lambda temporary: image.save(temporary, format="PNG", pnginfo=note))


def _writer(file: Path) -> str | None:
    """The model that wrote a file; None of a file of somebody's own."""
    if not file.is_file():
        return None
    try:
        with Image.open(file) as image:
            return image.info.get(WRITER)
    except OSError:
        return None
