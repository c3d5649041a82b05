"""Predict a clip or a stream: a video with what was predicted on top, and a line for each frame."""

import json
import time
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import IO, Any

from PIL import Image
from rich.console import Console

from minorkey.data.video.clip import Clip, opened_clip
from minorkey.data.video.frames import ALL, Frame, Sampling, read_ahead
from minorkey.data.video.library import title
from minorkey.data.video.writer import VideoWriter, opened_writer
from minorkey.errors import DataError, StorageError
from minorkey.system.ahead import Room, ahead
from minorkey.system.progress import Reporter
from minorkey.system.storage import new_file, new_folder, remove_folder, storage_errors, write_json
from minorkey.tasks.prediction import Prediction, read_saved
from minorkey.tasks.predictor import Predictor, Started, telling
from minorkey.training.interruption import StopFlag, stop_on_interrupt


@dataclass(frozen=True)
class ClipOptions:
    """What is made of clips."""

    sampling: Sampling = ALL
    overlays: bool = True  # a video with what was predicted on top
    frames: bool = False  # also a file for each frame, as an image has


@dataclass(frozen=True)
class ClipFiles:
    """Where what was predicted of one clip lies."""

    out: Path
    name: str
    kind: type[Prediction]

    @property
    def overlay(self) -> Path:
        """The video."""
        return self.out / "overlays" / f"{self.name}.mp4"

    @property
    def lines(self) -> Path:
        """A line for each frame."""
        return self.out / "clips" / f"{self.name}.jsonl"

    @property
    def record(self) -> Path:
        """What was asked and how it ended; written last, so that a clip without it is not done."""
        return self.out / "clips" / f"{self.name}.json"

    @property
    def frames(self) -> Path:
        """The folder of the frames' own files."""
        return self.out / "frames" / self.name

    def there(self) -> list[Path]:
        """Those that are there."""
        return [place for place in (self.record, self.lines, self.overlay, self.frames) if place.exists()]

    def remove(self) -> None:
        """Remove them, the record first: no half of a clip is taken for all of it.

        Raises:
            StorageError: one cannot be removed.
        """
        for file in (self.record, self.lines, self.overlay):
            with storage_errors(file):
                file.unlink(missing_ok=True)
        remove_folder(self.frames)

    def done(self, options: ClipOptions) -> dict[str, Any] | None:
        """The record of a clip that was predicted to its end as it is asked now; None: it was not."""
        try:
            record = read_saved(self.record) if self.record.is_file() else None
        except StorageError:
            return None
        whole = isinstance(record, dict) and record.get("sampling") == asdict(options.sampling)
        whole = whole and (not options.overlays or self.overlay.is_file())
        return record if whole and (not options.frames or self.frames.is_dir()) else None


def predict_clip(
    predictor: Predictor, source: str | Path, files: ClipFiles, options: ClipOptions, console: Console
) -> DataError | None:
    """Predict a clip, or a stream until it ends or the user interrupts; a frame is forgotten once it is written.

    Of one that is damaged or ends early, what lies before is kept. A clip that is interrupted leaves nothing; a stream,
    which has no other end, what was seen of it.

    Returns:
        What was wrong with it.

    Raises:
        ConfigError: PyAV is not installed.
        StorageError: a file cannot be written.
    """
    files.remove()
    try:
        with opened_clip(source) as clip, stop_on_interrupt() if clip.live else nullcontext(StopFlag()) as stop:
            count, problem = _predict(predictor, clip, files, options, console, stop)
            problem = None if stop else problem  # what the user ends has not broken off
    except DataError as error:
        return error
    if count:
        said = None if problem is None else str(problem)
        record = {"clip": title(source), "frames": count, "sampling": asdict(options.sampling), "problem": said}
        write_json(files.record, record)
    return problem


def _predict(
    predictor: Predictor, clip: Clip, files: ClipFiles, options: ClipOptions, console: Console, stop: StopFlag
) -> tuple[int, DataError | None]:
    """How many frames were written, and what was wrong."""
    frames = takewhile(lambda _: not stop, clip.frames(options.sampling))
    room, count, began, problem = Room(), 0, time.monotonic(), None
    with ExitStack() as stack:
        stack.enter_context(reporter := Reporter(console, files.name, clip.expected(options.sampling), unit="frame"))
        writer = _Writer(clip, files, options, stack)
        # Closed from the last on: nothing is decoded or drawn any more when the files and the clip are closed.
        read = stack.enter_context(closing(read_ahead(frames, room)))
        started = predictor.started(telling(predictor, console, read))
        drawn = stack.enter_context(closing(ahead(partial(_drawn, options.overlays), started, room=room)))
        for problem in stack.enter_context(closing(ahead(writer, drawn, 1))):
            if problem is not None:
                break
            count += 1
            reporter.update(count, f"{count / (time.monotonic() - began):.1f} frames/s")
    return count, problem


@dataclass(frozen=True)
class _Drawn:
    """A frame with all that is written of it."""

    frame: Frame
    prediction: Prediction
    line: str
    picture: Image.Image | None


def _drawn(overlays: bool, pair: tuple[Frame | None, Started | DataError]) -> _Drawn | DataError:
    frame, started = pair
    if frame is None or isinstance(started, DataError):
        return started  # type: ignore[return-value]  # there is a frame unless there is an error
    prediction = started()
    height, width = frame.image.shape[:2]
    line = {"frame": frame.index, "seconds": round(frame.seconds, 4), "width": width, "height": height}
    text = json.dumps(line | prediction.line(), allow_nan=False, ensure_ascii=False)
    return _Drawn(frame, prediction, text, prediction.draw() if overlays else None)


class _Writer:
    """Writes frames in order; the files are made with the first of them, and closed by the stack."""

    def __init__(self, clip: Clip, files: ClipFiles, options: ClipOptions, stack: ExitStack) -> None:
        self._clip, self._files, self._options = clip, files, options
        self._closing = stack.enter_context(ExitStack())
        self._lines: IO[str] | None = None
        self._video: VideoWriter | None = None
        self._frames: Path | None = None

    def __call__(self, drawn: _Drawn | DataError) -> DataError | None:
        """Write a frame; an error in its place is handed back."""
        if isinstance(drawn, DataError):
            return drawn
        if self._lines is None:
            self._lines = self._open()
        self._lines.write(f"{drawn.line}\n")
        if self._video is not None and drawn.picture is not None:
            self._video.add(drawn.picture, drawn.frame.time)
        if self._frames is not None:
            drawn.prediction.save(self._frames / f"{drawn.frame.index:06d}{drawn.prediction.suffix}")
        return None

    def _open(self) -> IO[str]:
        enter = self._closing.enter_context
        if self._options.frames:
            self._frames = enter(new_folder(self._files.frames))
        if self._options.overlays:
            rate = self._clip.rate / self._options.sampling.every
            video = opened_writer(enter(new_file(self._files.overlay)), rate=rate, tick=self._clip.tick)
            self._video = enter(video)
        return enter(enter(new_file(self._files.lines)).open("w", encoding="utf-8"))
