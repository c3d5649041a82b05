"""What the page shows of an image: what each run predicts of it, and where the predictions part."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from minorkey.data.corruptions import Corruption
from minorkey.data.images import list_images, opened_image, read_image
from minorkey.errors import ConfigError, DataError, printable
from minorkey.plotting.style import css
from minorkey.runs.load import load
from minorkey.tasks.pictures import photo
from minorkey.tasks.prediction import Difference, Prediction
from minorkey.tasks.predictor import Predictor
from minorkey.world import render

MOST_RUNS = 4
"""Models that are kept in memory."""

MOST_PIXELS = 2**26
"""Of an image that a page sends, 67 million: more than cameras have, and 200 MB."""

SCENES = 1000
"""Scenes of the built-in world to try, where no images were named."""

SEED = 2_000_000
"""Of these: neither that of a training's scenes nor of its targets."""

SHARPEST = 2048
"""Widest picture that is sent to the page, in pixels."""


@dataclass(frozen=True)
class Examples:
    """Images to begin with: those of a folder, else scenes of the built-in world."""

    files: Sequence[Path] | None

    @classmethod
    def at(cls, where: str | None) -> "Examples":
        """The images at a path or glob; None: scenes.

        Raises:
            DataError: there are none.
        """
        return cls(None if where is None else list_images(where))

    def __len__(self) -> int:
        """How many there are."""
        return SCENES if self.files is None else len(self.files)

    def image(self, index: int) -> np.ndarray:
        """One of them, `(H, W, 3)` uint8 RGB; beyond the last it begins again.

        Raises:
            DataError: it cannot be read.
        """
        place = index % len(self)
        return render(SEED, place).image if self.files is None else read_image(self.files[place])

    def name(self, index: int) -> str:
        """What the page calls it."""
        place = index % len(self)
        return f"drawn scene {place + 1}" if self.files is None else printable(self.files[place].name)


class Stage:
    """Runs that predict the same image.

    Args:
        runs: name of each run -> its model.
    """

    def __init__(self, runs: Mapping[str, Predictor]) -> None:
        self.runs = dict(runs)

    @classmethod
    def of(cls, folders: Sequence[Path]) -> "Stage":
        """The finished runs in these folders.

        Raises:
            ConfigError: they are too many, one is named twice, or takes images that the page does not show.
            DataError: one is no finished run.
        """
        if len(folders) > MOST_RUNS:
            raise ConfigError(f"{len(folders)} runs were given; at most {MOST_RUNS} are shown side by side")
        if len(set(map(os.path.realpath, folders))) < len(folders):
            raise ConfigError("a run is named twice; name each once")
        runs = {printable(str(folder)): load(folder) for folder in folders}
        for name, predictor in runs.items():
            if predictor.pixels.stated:
                raise ConfigError(
                    f"'{name}' takes images with {predictor.pixels}, and the page shows 8-bit RGB alone; "
                    "take minorkey predict"
                )
        return cls(runs)

    def show(self, image: np.ndarray, corruption: Corruption | None) -> dict[str, Any]:
        """What the page shows of an image, in the form of JSON; pictures are data URIs.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            corruption: what is done to it first.
        """
        seen = image if corruption is None else corruption.apply(image, key="show")
        first: Prediction | None = None
        runs = []
        for name, predictor in self.runs.items():
            started = time.perf_counter()
            prediction = predictor.predict(seen)
            seconds = time.perf_counter() - started
            clean = None if corruption is None else _compared(predictor.predict(image), prediction)
            other = clean if len(self.runs) == 1 else None if first is None else _compared(first, prediction)
            first = prediction if first is None else first
            runs.append(
                {
                    "name": name,
                    "milliseconds": round(1000 * seconds),
                    "windows": predictor.tile(seen.shape[:2]),
                    "picture": _picture(prediction.draw()),
                    "found": _legend(prediction, predictor),
                    "clean": clean and clean.text,
                    "other": other and other.text,
                    "difference": other and other.picture and _picture(other.picture),
                }
            )
        height, width = image.shape[:2]
        return {"width": width, "height": height, "image": photo(seen, SHARPEST), "runs": runs}


def decoded(content: bytes, side: int) -> np.ndarray:
    """An image that a page sent, `(H, W, 3)` uint8 RGB, its longer side made as long as asked for if it is longer.

    Raises:
        DataError: it is none that can be read, or too large.
    """
    with opened_image("the image", content) as opened:
        width, height = opened.size
    if width * height > MOST_PIXELS:
        raise DataError(f"the image has {width}x{height} pixels, at most {MOST_PIXELS} are taken; make it smaller")
    return shrunk(read_image("the image", content), side)


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """An image whose longer side has at most so many pixels."""
    height, width = image.shape[:2]
    share = side / max(height, width)
    if share >= 1:
        return image
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _compared(one: Prediction, other: Prediction) -> Difference | None:
    return one.compared(other) if type(one) is type(other) else None


def _picture(drawn: Image.Image) -> str:
    return photo(np.asarray(drawn.convert("RGB")), SHARPEST)


def _legend(prediction: Prediction, predictor: Predictor) -> list[dict[str, str]]:
    """The classes that were found: name, colour and how much."""
    colours = dict(zip(predictor.space.classes, predictor.space.colours.tolist(), strict=True))
    return [{"name": name, "colour": css(colours[name]), "text": text} for name, text in prediction.found().items()]
