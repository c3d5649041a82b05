"""Single frames of a clip in any order, as a training asks for them: found from the key frame before."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from minorkey.data.video.clip import Clip, opened_clip
from minorkey.data.video.frames import Sampling
from minorkey.data.video.library import TO_DO
from minorkey.errors import DataError

STEPS_BACK = (Fraction(0), Fraction(10), None)
"""Seconds before a frame from which it is looked for, one after the other; None: the beginning. Some containers lead to
a key frame after the one that is asked for."""


@dataclass(frozen=True)
class Spot:
    """Where a frame of a clip is."""

    index: int  # its number in the clip, 0 first
    stamp: int | None  # its time in ticks of the container; None: times do not tell frames apart


@dataclass(frozen=True)
class Table:
    """The frames of a clip that are taken."""

    spots: list[Spot]
    count: int  # of all frames
    problem: str = ""  # what keeps more of them from being read


def table_of(file: Path, every: int | None = None) -> Table:
    """Read a clip through, without decoding it, for each `every`-th of its frames; None: for one a second.

    Raises:
        ConfigError: PyAV is not installed.
        DataError: it is no clip, or holds no frame.
    """
    stamps: list[int | None] = []
    problem = ""
    with opened_clip(file) as clip:
        try:
            stamps.extend(clip.stamps())
            clip.check_end(len(stamps) - 1, _last(stamps, clip))
        except DataError as error:
            problem = str(error)
        step, counted = every or max(1, round(clip.rate)), clip.counted
    if not stamps:
        raise DataError(problem or f"{file}: holds no frame; {TO_DO}")
    shown = [None] * len(stamps) if counted else _in_order(stamps)
    return Table([Spot(index, shown[index]) for index in range(0, len(shown), step)], len(shown), problem)


def _last(stamps: list[int | None], clip: Clip) -> Fraction:
    """Seconds from the first frame to the last one; by the rate, where not every frame has its time."""
    known = [stamp for stamp in stamps if stamp is not None]
    if known and len(known) == len(stamps):
        return (max(known) - min(known)) * clip.tick
    return Fraction(max(0, len(stamps) - 1)) / clip.rate


def _in_order(stamps: list[int | None]) -> list[int | None]:
    """Times in the order of frames: they lie as they are decoded, and some are shown after others that lie behind."""
    known = [stamp for stamp in stamps if stamp is not None]
    return [*sorted(known)] if len(set(known)) == len(stamps) else [None] * len(stamps)


def frame_at(file: Path, spot: Spot) -> np.ndarray:
    """Decode one frame, as `(H, W, 3)` uint8 RGB; one whose time is not known is counted from the beginning.

    Raises:
        ConfigError: PyAV is not installed.
        DataError: the clip is missing, damaged there or was changed.
    """
    with opened_clip(file) as clip:
        if spot.stamp is None:
            frames = clip.frames(Sampling(every=max(1, spot.index)))
            found = next((frame.image for frame in frames if frame.index == spot.index), None)
        else:
            found = next(
                (pixels for back in STEPS_BACK if (pixels := clip.pixels_at(spot.stamp, back)) is not None), None
            )
    if found is None:
        raise DataError(f"{file}: frame {spot.index} cannot be decoded; {TO_DO}")
    return found
