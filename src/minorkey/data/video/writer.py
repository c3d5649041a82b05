"""Pictures written as a video that plays everywhere: H.264 in MP4 where the library can."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from minorkey.data.video.library import pyav
from minorkey.errors import ConfigError

ENCODERS = ("libx264", "libopenh264", "mpeg4")
"""The first that is there. The last is part of every FFmpeg."""

SETTINGS = {"libx264": {"preset": "veryfast", "crf": "20"}, "mpeg4": {"q:v": "3"}}

FINEST = {"mpeg4": 65_535}
"""Of an encoder: the most ticks a second. MP4 itself counts in 32 bits."""

TICKS = 60_000
"""A second, where the clip counts in finer ones."""


class VideoWriter:
    """An open video of one size; made by `opened_writer`."""

    def __init__(self, av: Any, container: Any, rate: Fraction, tick: Fraction) -> None:
        self._av, self._container = av, container
        encoder = next((name for name in ENCODERS if _can_encode(av, name)), None)
        if encoder is None:
            raise ConfigError(f"PyAV has no encoder of {', '.join(ENCODERS)}; add --no-overlays, or install its wheel")
        self._stream = container.add_stream(
            encoder, rate=rate.limit_denominator(10**5), options=SETTINGS.get(encoder, {})
        )
        most = FINEST.get(encoder, 10**6)
        self._tick = tick if tick.numerator == 1 and tick.denominator <= most else Fraction(1, TICKS)
        self._stream.codec_context.time_base = self._tick
        self._size: tuple[int, int] | None = None
        self._last = -1

    def add(self, picture: Image.Image, time: Fraction) -> None:
        """Add a picture that is seen from `time` on, in seconds; they rise. All are shown as large as the first."""
        if self._size is None:
            self._size = picture.size
            # Two pixels beside and above one another share a colour: what is odd is one larger.
            self._stream.width, self._stream.height = (side + side % 2 for side in picture.size)
            self._stream.pix_fmt = "yuv420p"
        pixels = np.asarray(picture if picture.size == self._size else picture.resize(self._size))
        height, width = pixels.shape[:2]
        frame = self._av.VideoFrame.from_ndarray(
            np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"), format="rgb24"
        )
        self._last = max(self._last + 1, round(time / self._tick))
        frame.pts, frame.time_base = self._last, self._tick
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder holds back."""
        if self._size is not None:
            self._container.mux(self._stream.encode())


@contextmanager
def opened_writer(file: Path, *, rate: Fraction, tick: Fraction) -> Iterator[VideoWriter]:
    """A video to add pictures to, which is whole once the block ends without an error.

    Args:
        file: where; its suffix does not matter.
        rate: pictures a second.
        tick: seconds that times are counted in.

    Raises:
        ConfigError: PyAV is not installed, or can encode nothing.
        OSError: it cannot be written.
    """
    av = pyav()
    with av.open(str(file.absolute()), "w", format="mp4", options={"movflags": "faststart"}) as container:
        writer = VideoWriter(av, container, rate, tick)
        yield writer
        writer.finish()


def _can_encode(av: Any, name: str) -> bool:
    try:
        av.Codec(name, "w")
    except ValueError:
        return False
    return True
