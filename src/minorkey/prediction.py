"""Predict many image files: overlays and id maps, resumable."""

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from minorkey.data.images import list_images, read_image
from minorkey.errors import ConfigError, DataError
from minorkey.predictor import Predictor
from minorkey.storage import write_json
from minorkey.tasks.prediction import save_png
from minorkey.training.progress import Reporter
from minorkey.workflow import load


@dataclass
class Done:
    """What came of predicting a set of images."""

    written: int = 0
    skipped: int = 0  # there already
    problems: list[str] = field(default_factory=list)  # one line for each image that could not be read


def predict_folder(
    run: Path, images: str, out: Path, *, overwrite: bool = False, console: Console | None = None
) -> Done:
    """Write `overlays/<name>.png` and `ids/<name>.png` for every image, and `classes.json`.

    Names keep the folders below the one given.

    Raises:
        DataError: there is no run or no image.
        StorageError: a file cannot be written.
    """
    files = list_images(images)
    names = _names(files, Path(images))
    predictor = load(run)
    write_json(out / "classes.json", dict(enumerate(predictor.space.classes)))  # type: ignore[arg-type]
    done = Done()
    with Reporter(console or Console(stderr=True), "predicting", len(files), unit="image") as reporter:
        for count, (file, name) in enumerate(zip(files, names, strict=True), start=1):
            _predict(predictor, file, out, name, overwrite, done)
            reporter.update(count, name)
    return done


def _predict(predictor: Predictor, file: Path, out: Path, name: str, overwrite: bool, done: Done) -> None:
    ids, overlay = out / "ids" / f"{name}.png", out / "overlays" / f"{name}.png"
    if ids.is_file() and overlay.is_file() and not overwrite:
        done.skipped += 1
        return
    try:
        prediction = predictor.predict_one(read_image(file))
    except DataError as error:
        done.problems.append(str(error))
        return
    save_png(prediction.draw(), overlay)
    prediction.save(ids)
    done.written += 1


def _names(files: list[Path], root: Path) -> list[str]:
    """Output names without suffix: relative to the folder that was given, else the bare stem."""
    names = [(str(f.relative_to(root).with_suffix("")) if root.is_dir() else f.stem) for f in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"several images would be written as '{twice[0]}'; predict their folders one at a time")
    return names
