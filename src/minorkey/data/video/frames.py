"""The frames of a clip: which are taken, what each is, and that some are decoded ahead of who asks for them."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

import numpy as np

from minorkey.errors import ConfigError, DataError
from minorkey.system.ahead import Room, ahead


@dataclass(frozen=True)
class Frame:
    """A picture of a clip."""

    index: int  # its number in the clip, 0 first
    time: Fraction  # seconds since the clip's first frame
    image: np.ndarray  # (H, W, 3) uint8 RGB, upright

    @property
    def seconds(self) -> float:
        """Since the clip's first frame."""
        return float(self.time)


@dataclass(frozen=True)
class Sampling:
    """Which frames of a clip are taken: of those from `start` until before `end`, the first and each `every`-th on.

    Raises:
        ConfigError: none could be.
    """

    every: int = 1
    start: float = 0.0  # seconds since the clip's first frame
    end: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"every {self.every} frames none can be taken; expected 1 (all of them) or more")
        if not (self.start >= 0 and (self.end is None or self.end > self.start)):  # of NaN neither is true
            end = "its end" if self.end is None else f"{self.end:g} s"
            raise ConfigError(f"from {self.start:g} s to {end} there is nothing; expected 0 <= start < end")


ALL = Sampling()


def read_ahead(
    frames: Iterator[Frame], room: Room
) -> Generator[tuple[Frame | None, np.ndarray | DataError], None, None]:
    """Frames with their images, as `Predictor.started` takes them, decoded in a thread of their own.

    An error is handed out in place of an image, and then nothing more.
    """

    def step(_: int) -> tuple[Frame | None, np.ndarray | DataError | None]:
        try:
            frame = next(frames, None)
        except DataError as error:
            return None, error
        if frame is None:
            return None, None
        room.note(frame.image)
        return frame, frame.image

    with closing(ahead(step, count(), 1, room)) as steps:
        for frame, image in steps:
            if image is None:
                return
            yield frame, image
