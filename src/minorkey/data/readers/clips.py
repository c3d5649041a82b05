"""Frames of clips without anything else: a clip, a folder of them, or what matches a glob."""

from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from minorkey.data.deep_images import image_suffixes
from minorkey.data.images import list_files
from minorkey.data.pixels import PixelOptions
from minorkey.data.raw_cache import RawCache, file_stamp
from minorkey.data.readers.images import ImageReader, fixed_part
from minorkey.data.sample import Sample
from minorkey.data.video.library import CLIP_SUFFIXES, is_clip
from minorkey.data.video.lookup import Spot, frame_at, table_of
from minorkey.errors import DataError
from minorkey.labels.tables import parse_row


class ClipOptions(BaseModel):
    """What may follow the `?` of clips."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: int | None = Field(None, ge=1)  # each N-th frame is taken; None: one a second, for neighbours are alike


class ClipReader:
    """Frames of all clips at a path as the unlabelled samples of one domain: by clip, then by time."""

    def __init__(self, where: str, every: int | None = None, cache: RawCache | None = None) -> None:
        """Read the clips through for where their frames are.

        Args:
            where: a clip, a folder, with all that is below it, or a glob.
            every: each N-th frame is taken; None: one a second.
            cache: keeps the pixels of frames.

        Raises:
            ConfigError: PyAV is not installed.
            DataError: there are no clips, one cannot be read, or two have one name but for the suffix.
        """
        self._cache = cache
        files = list_files(where, CLIP_SUFFIXES)
        if not files:
            raise DataError(f"{where} holds or matches no clips; expected one of {', '.join(sorted(CLIP_SUFFIXES))}")
        path = Path(where)
        self._root = path if path.is_dir() else path.parent if path.is_file() else fixed_part(path)
        self.name = where if every is None else f"{where}?every={every}"
        self.domain = path.stem if path.is_file() else self._root.resolve().name
        self._frames: list[tuple[Path, Spot]] = []
        self._names = _names(files, self._root)
        self.notes = tuple(self._take(files, every))

    def _take(self, files: list[Path], every: int | None) -> list[str]:
        """Take the frames of each file; lines on how many, and on clips that are not whole."""
        problems, total = [], 0
        for file in files:
            table = table_of(file, every)
            self._frames.extend((file, spot) for spot in table.spots)
            total += table.count
            if table.problem:
                problems.append(f"{table.problem}; the frames before are taken")
        step = "one a second; ?every=N takes one of N" if every is None else f"one of {every}"
        return [f"{len(self._frames)} of {total} frames of {_clips(len(files))} are taken, {step}", *problems]

    def __len__(self) -> int:
        """Number of frames that are taken."""
        return len(self._frames)

    def key(self, index: int) -> str:
        """The path of the clip below the folder, without suffix, and the number of the frame: `drive/000120`."""
        file, spot = self._frames[index]
        return f"{self._names[file]}/{spot.index:06d}"

    def __getitem__(self, index: int) -> Sample:
        """Decode a frame.

        Raises:
            DataError: the clip is missing or damaged there.
        """
        file, spot = self._frames[index]
        return Sample(self._pixels(file, spot), self.domain, self.key(index))

    def _pixels(self, file: Path, spot: Spot) -> np.ndarray:
        stamp = None if self._cache is None else file_stamp(file)
        if self._cache is None or stamp is None:
            return frame_at(file, spot)
        # A clip is too long to be hashed for each of its frames: where it lies and when it changed names them.
        named = f"{stamp}|{spot.index}"
        return self._cache.pixels("frame", named, named.encode, lambda _: frame_at(file, spot))


def open_unlabelled(spec: str, cache: RawCache | None, pixels: PixelOptions) -> ClipReader | ImageReader:
    """A file, folder or glob of images, or of clips as `PATH[?every=N]`; clips beside images are passed over, and said.

    Raises:
        ConfigError: there is no such option, or clips are to be read and PyAV is not installed.
        DataError: there is nothing, or it cannot be read.
    """
    where, mark, query = spec.rpartition("?")
    if mark and "=" in query and not Path(spec).exists():
        options = parse_row(ClipOptions, dict(parse_qsl(query, keep_blank_values=True)), spec)
        return ClipReader(where, options.every, cache)
    if Path(spec).is_file():
        return ClipReader(spec, None, cache) if is_clip(Path(spec)) else ImageReader(spec, cache, pixels)
    clips = list_files(spec, CLIP_SUFFIXES)
    if clips and not list_files(spec, image_suffixes(pixels)):
        return ClipReader(spec, None, cache)
    images = ImageReader(spec, cache, pixels)
    if clips:
        images.notes = (*images.notes, f"{_clips(len(clips))} beside the images passed over, as {clips[0].name}")
    return images


def _clips(count: int) -> str:
    return "1 clip" if count == 1 else f"{count} clips"


def _names(files: list[Path], root: Path) -> dict[Path, str]:
    names = {file: file.relative_to(root).with_suffix("").as_posix() for file in files}
    places: dict[str, Path] = {}
    for file, name in names.items():
        if (other := places.setdefault(name, file)) != file:
            raise DataError(f"{other} and {file.name} share the name '{name}'; keep one of them, or give a glob")
    return names
