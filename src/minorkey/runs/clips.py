"""Predict many clips into a folder of results; those done before, as they are asked now, are left as they are."""

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from minorkey.data.video.library import is_stream, title
from minorkey.errors import DataError
from minorkey.runs.clip import ClipFiles, ClipOptions, predict_clip
from minorkey.runs.made import Made
from minorkey.system.names import below
from minorkey.tasks.prediction import Prediction
from minorkey.tasks.predictor import Predictor

Source = Path | str
"""A clip; the address of a stream or a camera."""


@dataclass(frozen=True)
class Outcome:
    """What came of one clip."""

    written: bool = False
    skipped: bool = False  # there already
    problem: str = ""  # what kept it from being predicted, or predicted to its end


@dataclass(frozen=True)
class ClipFolder:
    """Where predictions of clips are written."""

    out: Path
    kind: type[Prediction]
    options: ClipOptions
    made: Made

    def files(self, name: str) -> ClipFiles:
        """Those of one clip."""
        return ClipFiles(self.out, name, self.kind)

    def there(self, names: Iterable[str]) -> dict[str, list[Path]]:
        """Name -> files that are there, of the clips that have some."""
        return {name: files for name in names if (files := self.files(name).there())}

    def predict(
        self, predictor: Predictor, clips: Iterable[tuple[str, Source]], console: Console, *, overwrite: bool
    ) -> Iterator[Outcome]:
        """Predict clips with the names of their results, one after the other.

        Raises:
            StorageError: a file cannot be written.
        """
        for name, source in clips:
            files = self.files(name)
            stamp = None if is_stream(source) else self.made.stamp(Path(source))
            done = files.done(self.options) if self.made.is_of(name, stamp) and not overwrite else None
            if done is not None:
                yield Outcome(skipped=True, problem=_kept(done.get("problem"), files))
                continue
            self.made.begin(name, stamp or self.made.stamp_of_stream(), ())
            problem = predict_clip(predictor, source, files, self.options, console)
            yield Outcome(written=files.record.is_file(), problem=_kept(problem, files))


def name_of_stream(stream: str) -> str:
    """What is seen of a stream has a name of its own each time, for it is never the same."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", title(stream)).strip("-")
    return below(Path(), f"{words}-{time.strftime('%Y%m%dT%H%M%S')}").as_posix()


def _kept(problem: DataError | str | None, files: ClipFiles) -> str:
    """What was wrong with a clip, and what of it is there nevertheless."""
    if problem is None:
        return ""
    return f"{problem}; what lies before is predicted" if files.record.is_file() else str(problem)
