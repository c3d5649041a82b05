"""Predict many files of images and clips: overlays and what was predicted, shared out among processes, resumable."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from urllib.parse import quote

import numpy as np
from rich.console import Console

from minorkey.data.deep_images import image_suffixes, read_pixels
from minorkey.data.images import list_files, list_images, unread
from minorkey.data.pixels import PixelOptions
from minorkey.data.video.frames import ALL, Sampling
from minorkey.data.video.library import CLIP_SUFFIXES, is_clip, is_stream, pyav
from minorkey.errors import ConfigError, DataError
from minorkey.plotting.page_template import page_template
from minorkey.runs.clip import ClipOptions
from minorkey.runs.clips import ClipFolder, Source, name_of_stream
from minorkey.runs.load import load, pixels_of
from minorkey.runs.made import Made, Stamp, is_folder_of_results, model_digest
from minorkey.runs.rasters import predict_raster, raster_names
from minorkey.system.ahead import Room, ahead
from minorkey.system.lock import sole_writer
from minorkey.system.names import below
from minorkey.system.processes import from_main, gathered_objects, process_count, process_index, speaker, together
from minorkey.system.progress import Reporter
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import write_json, write_text
from minorkey.tasks.prediction import Prediction, read_saved, save_jpeg
from minorkey.tasks.predictor import Predictor, Started, telling
from minorkey.training.device import connect
from minorkey.training.options import TrainingOptions

CLASSES = "classes.json"
ENDINGS = (".json", ".csv", ".html")
"""Of the files about all images."""

RASTER = ".tif"
"""Suffix of what is predicted of a raster."""

SHOWN = 120
"""Images on the page at most, of each heading."""

Shard = tuple[int, int]
"""(i, n): the i-th of n parts, 1 first."""


@dataclass
class Done:
    """What came of predicting a set of images."""

    written: int = 0
    skipped: int = 0  # there already
    clips: int = 0  # written beside the images
    problems: list[str] = field(
        default_factory=list
    )  # one line for each that could not be predicted, or not to its end


def predict_folder(
    run: Path,
    images: str,
    out: Path,
    *,
    overwrite: bool = False,
    overlays: bool = True,
    shard: Shard = (1, 1),
    sampling: Sampling = ALL,
    frames: bool = False,
    console: Console | None = None,
) -> Done:
    """Write `overlays/<name>.jpg` and what was predicted for every image, a page of the overlays, and `classes.json`.

    Of a clip, `overlays/<name>.mp4`, `clips/<name>.jsonl` with a line for each frame, and `clips/<name>.json`.

    Segmentation writes `ids/<name>.png`, of a GeoTIFF `ids/<name>.tif` in its place on earth. Detection writes
    `boxes/<name>.json`, and once all images are done `predictions.json`, a COCO results file in which an image's id is
    its file's name; each of n jobs writes one of its own, `predictions-<i>-of-<n>.json`, and a job without a shard that
    comes after them the whole.

    The next images are read and the last ones written, in threads, while the device works on one.

    Names keep the folders below the one given. Processes that were started together (torchrun) share the images
    out, each image being one's alone; jobs that know nothing of each other take one `shard` each.

    Args:
        run: folder of a finished run, or an ONNX file that was exported of one.
        images: an image, a clip, a folder or a glob of these; the address of a stream, or a camera.
        out: folder to write.
        overwrite: predict again what is there already, and replace it whatever it is.
        overlays: False leaves the overlays out, which are to look at only.
        shard: do only every n-th image or clip, from the i-th on.
        sampling: which frames of clips.
        frames: also write a file for each frame of a clip, `frames/<name>/<number>`, as an image has.
        console: where progress is shown; None: standard error.

    Returns:
        What came of it in all processes.

    Raises:
        ConfigError: PyAV is needed and not installed, there is no such shard, two images would be written under one
            name, or `out` holds what was predicted by another model or of another image of the same name, or files of
            which it is not known what they were made of (not with `overwrite`).
        DataError: there is no run or no image.
        StorageError: a file cannot be written.
    """
    connect(TrainingOptions())
    suffixes = from_main(lambda: image_suffixes(pixels_of(run)))
    files, names, clips = from_main(lambda: _listed(images, shard, suffixes, out, frames))
    with together():
        predictor = load(run)
    model = from_main(lambda: model_digest(RunFolder(run), predictor))
    made = Made(out, f"{shard[0]}-of-{shard[1]}-{process_index()}", model)
    rasters = from_main(lambda: raster_names(predictor, dict(zip(names, files, strict=True))))
    writer = _Writer(predictor.prediction_type, out, overlays, made, rasters)
    clip_writer = ClipFolder(out, predictor.prediction_type, ClipOptions(sampling, overlays, frames), made)
    classes = {str(i): c for i, c in enumerate(predictor.space.classes)}
    console, done = speaker(console), Done()
    for line in () if is_stream(images) else unread(images):
        console.print(line, highlight=False, soft_wrap=True)
    with sole_writer(made.folder / "{}-of-{}".format(*shard), console):  # jobs write their own shares
        made.refresh()
        if not overwrite:
            asked: dict[str, Path] = dict(zip(names, files, strict=True))
            asked |= {name: Path(source) for name, source in clips.items() if not is_stream(source)}
            from_main(lambda: _refuse_others(writer, asked, clip_writer.there(clips), classes, shard))
        made.open()
        if shard[0] == 1:  # jobs share the folder: one writes
            from_main(lambda: write_json(out / CLASSES, classes))
        mine = slice(process_index(), None, process_count())
        _predict_images(predictor, writer, list(zip(names, files, strict=True))[mine], overwrite, console, done)
        for outcome in clip_writer.predict(predictor, list(clips.items())[mine], console, overwrite=overwrite):
            done.clips += outcome.written
            done.skipped += outcome.skipped
            done.problems.extend([outcome.problem] if outcome.problem else [])
        whole = _sum(gathered_objects(done))
        videos = [clip_writer.files(name).overlay for name in clips] if overlays else []
        from_main(lambda: _summarise(writer, run, dict(zip(names, files, strict=True)), videos, shard))
    return whole


def _predict_images(
    predictor: Predictor,
    writer: "_Writer",
    images: Sequence[tuple[str, Path]],
    overwrite: bool,
    console: Console,
    done: Done,
) -> None:
    """Predict images by their names, those that are predicted part by part last."""
    stamps = {name: writer.made.stamp(file) for name, file in images}
    missing = [pair for pair in images if overwrite or not writer.is_done(pair[0], stamps[pair[0]])]
    todo = [pair for pair in missing if pair[0] not in writer.rasters]
    large = [pair for pair in missing if pair[0] in writer.rasters]
    done.skipped += len(images) - len(missing)
    with Reporter(console, "predicting", len(images), done=done.skipped, unit="image") as reporter:
        room = Room()
        files = [file for _, file in todo]
        read = ahead(partial(_read, files, predictor.pixels, room), range(len(files)), room=room)
        started = predictor.started(telling(predictor, console, read))

        def write(pair: tuple[int, Started | DataError]) -> tuple[str, Path, DataError | None]:
            name, file = todo[pair[0]]
            return name, file, writer.write(name, stamps[name], pair[1])

        written = chain(
            ahead(write, started, room=room),
            ((name, file, writer.write_raster(predictor, file, name, stamps[name])) for name, file in large),
        )
        for count, (name, file, problem) in enumerate(written, start=done.skipped + 1):
            done.written += problem is None
            done.problems.extend([] if problem is None else [_naming(file, problem)])
            reporter.update(count, name)


def parse_shard(text: str) -> Shard:
    """`2/8` as (2, 8).

    Raises:
        ConfigError: it is not two whole numbers, the first from 1 to the second.
    """
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ConfigError(f"shard '{text}' is none; expected I/N with I from 1 to N, e.g. 2/8")
    return int(index), int(count)


def _listed(
    images: str, shard: Shard, suffixes: frozenset[str], out: Path, frames: bool
) -> tuple[list[Path], list[str], dict[str, Source]]:
    """The images of a shard and their names, and its clips by their names; names differ among all of them."""
    index, count = shard
    if is_stream(images):
        return [], [], {name_of_stream(images): images} if index == 1 else {}
    found = _without_results(images, list_files(images, suffixes | CLIP_SUFFIXES), out)
    found = found or list_images(images, suffixes)  # which says what is expected
    named = list(zip(_names(found, Path(images)), found, strict=True))
    clips = [(name, file) for name, file in named if is_clip(file)]
    pictures = [(name, file) for name, file in named if not is_clip(file)][index - 1 :: count]
    if clips:
        pyav()
    if frames:
        _refuse_nested(dict(clips))
    return [file for _, file in pictures], [name for name, _ in pictures], dict(clips[index - 1 :: count])


def _refuse_nested(clips: Mapping[str, Path]) -> None:
    """Raise `ConfigError` where the folder of one clip's frames would lie in that of another's."""
    for name, source in clips.items():
        outer = next((str(each) for each in PurePath(name).parents if str(each) in clips), None)
        if outer is not None:
            raise ConfigError(
                f"the frames of '{clips[outer]}' and '{source}' would lie in one folder, frames/{outer}; rename one, "
                "or leave --frames out"
            )


RESULTS = ("overlays", "ids", "boxes", "classes", "clips", "frames")
"""Folders that predictions are written to."""


def _without_results(images: str, found: Sequence[Path], out: Path) -> Sequence[Path]:
    """The files without those that an earlier call wrote to `out`, which may be among the images, or hold them."""
    results = [out.resolve() / name for name in RESULTS]
    asked = [Path(images).resolve(), *Path(images).resolve().parents]
    if not is_folder_of_results(out) or any(folder in asked for folder in results):
        return found
    return [file for file in found if not any(folder in file.resolve().parents for folder in results)]


def _read(files: Sequence[Path], pixels: PixelOptions, room: Room, place: int) -> tuple[int, np.ndarray | DataError]:
    try:
        image = read_pixels(files[place], pixels=pixels)
    except DataError as error:
        return place, error
    room.note(image)
    return place, image


@dataclass(frozen=True)
class _Writer:
    """Where predictions are written; is called from threads."""

    kind: type[Prediction]
    out: Path
    overlays: bool
    made: Made
    rasters: frozenset[str] = frozenset()  # names of what is predicted part by part, and saved as GeoTIFF

    def is_done(self, name: str, stamp: Stamp | None) -> bool:
        """Whether an image, as it is now, was predicted before by the same model."""
        return (not self.overlays or self.drawn(name).is_file()) and self.is_saved(name, stamp)

    def is_saved(self, name: str, stamp: Stamp | None) -> bool:
        """The same but for the overlay."""
        return self.saved(name).is_file() and self.made.is_of(name, stamp)

    def there(self, name: str) -> list[Path]:
        """The files of an image that are there."""
        return [file for file in (self.saved(name), self.drawn(name)) if file.is_file()]

    def drawn(self, name: str) -> Path:
        """Where the overlay of an image is."""
        return self.out / "overlays" / f"{name}.jpg"

    def saved(self, name: str) -> Path:
        """Where what was predicted of an image is."""
        suffix = RASTER if name in self.rasters else self.kind.suffix
        return self.out / self.kind.folder / f"{name}{suffix}"

    def write(self, name: str, stamp: Stamp | None, started: Started | DataError) -> DataError | None:
        """Write what was predicted of an image, the overlay first; an error in its place is handed back."""
        if isinstance(started, DataError):
            return started
        prediction = started()
        if stamp is not None:  # else the image came after it was looked for: it will be looked at again
            self.made.begin(name, stamp, self.there(name))
        if self.overlays:
            save_jpeg(prediction.draw(), self.drawn(name))
        prediction.save(self.saved(name))
        return None

    def write_raster(self, predictor: Predictor, file: Path, name: str, stamp: Stamp | None) -> DataError | None:
        """Predict and write a raster, as `write`."""
        if stamp is not None:
            self.made.begin(name, stamp, self.there(name))
        try:
            predict_raster(predictor, file, self.saved(name), self.drawn(name) if self.overlays else None)
        except DataError as error:
            return error
        return None


def _refuse_others(
    writer: _Writer,
    images: Mapping[str, Path],
    clips: Mapping[str, Sequence[Path]],
    classes: Mapping[str, str],
    shard: Shard,
) -> None:
    """Raise unless all that is there under the names that are written to was made by this model, here, of these.

    Args:
        writer: of predictions.
        images: those and clips, by the names of their results.
        clips: what is there of clips.
        classes: of the model.
        shard: of this job.
    """
    there = {name: files for name in images if (files := writer.there(name))} | dict(clips)
    whole = _whole(writer.out, shard)
    beside = [writer.out / CLASSES, *(whole.with_name(whole.name + end) for end in ENDINGS)]
    writer.made.refuse_others(there, images, beside)
    if is_folder_of_results(writer.out) and (file := writer.out / CLASSES).is_file() and read_saved(file) != classes:
        raise ConfigError(f"'{file}' numbers other classes; choose another --out, or add --overwrite to replace it")


def _whole(out: Path, shard: Shard) -> Path:
    """The files about all images of a shard, without suffix."""
    index, count = shard
    return out / ("predictions" if count == 1 else f"predictions-{index}-of-{count}")


def _naming(file: Path, problem: DataError) -> str:
    return str(problem) if str(file) in str(problem) else f"{file}: {problem}"


def _summarise(writer: _Writer, run: Path, files: Mapping[str, Path], videos: Sequence[Path], shard: Shard) -> None:
    """One file with the predictions of a shard, where the task has one, and a page, without images that failed."""
    path, made = _whole(writer.out, shard), writer.made
    made.refresh()
    done = {name: file for name, file in files.items() if writer.is_saved(name, made.stamp(file))}
    writer.kind.summarise({f"{name}{file.suffix}": writer.saved(name) for name, file in done.items()}, path)
    groups: dict[str, list[tuple[str, str]]] = {}
    for name in done if writer.overlays else ():
        if (drawn := writer.drawn(name)).is_file():
            place = quote(drawn.relative_to(writer.out).as_posix())
            groups.setdefault(writer.kind.heading(writer.saved(name)), []).append((name, place))
    clips = [(file.stem, quote(file.relative_to(writer.out).as_posix())) for file in videos if file.is_file()]
    if groups or clips:
        shown = {"groups": dict(sorted(groups.items())), "clips": clips, "shown": SHOWN}
        page = page_template("predictions.html.j2").render(run=run, **shown)
        write_text(path.with_name(f"{path.name}.html"), page)


def _names(files: Sequence[Path], root: Path) -> list[str]:
    """Output names without suffix: relative to the folder that was given, else the bare stem.

    A name that no file of ours could have, as one that is very long, is changed.
    """
    bare = [(f.relative_to(root).with_suffix("").as_posix() if root.is_dir() else f.stem) for f in files]
    names = [below(Path(), name).as_posix() for name in bare]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        first, second, *_ = (file for file, name in zip(files, names, strict=True) if name == twice[0])
        raise ConfigError(
            f"'{first}' and '{second}' would be written under one name, '{twice[0]}'; predict their folders, or their "
            "kinds of files (a glob, as 'photos/*.png'), one at a time"
        )
    return names


def _sum(parts: Sequence[Done]) -> Done:
    return Done(
        written=sum(part.written for part in parts),
        skipped=sum(part.skipped for part in parts),
        clips=sum(part.clips for part in parts),
        problems=[problem for part in parts for problem in part.problems],
    )
