"""Tiny clips, written where the tests need them."""

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed")

SIZE = (32, 48)
"""Height and width."""


def picture(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """What frame `index` shows: grey noise as bright as its number says, so that no two are alike."""
    noise = np.random.default_rng(index).integers(0, 32, size, dtype=np.uint8)
    return np.repeat((noise + np.uint8(7 * index % 217))[..., None], 3, axis=2)


def number(image: np.ndarray) -> int:
    """Which frame this is, of the first 30."""
    return round((float(image.mean()) - 15.5) / 7)


def write_clip(
    file: Path,
    frames: int = 20,
    *,
    size: tuple[int, int] = SIZE,
    rate: int | Fraction = 10,
    times: list[Fraction] | None = None,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    b_frames: int | None = None,
    **options: str,
) -> Path:
    """A clip of `picture`s with a key frame every eight."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        stream.codec_context.gop_size = 8
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        tick = Fraction(1, 1000) if times else 1 / Fraction(rate)
        stream.codec_context.time_base = tick
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, size), format="rgb24")
            frame.pts = index if times is None else round(times[index] / tick)
            frame.time_base = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


QUARTER = (0, 1, -1, 0)
"""Clockwise, as MP4 states it: of a place (x, y) how far it goes right and down by x, and right and down by y."""


def turn(file: Path, how: tuple[int, int, int, int] = QUARTER) -> Path:
    """Have a clip in MP4 say that it is to be turned, or mirrored."""
    content = bytearray(file.read_bytes())
    place = content.index(b"tkhd") + 44
    right, down, aside, below = (part << 16 for part in how)
    content[place : place + 36] = struct.pack(">9i", right, down, 0, aside, below, 0, 0, 0, 1 << 30)
    file.write_bytes(content)
    return file


def cut(file: Path, part: float) -> Path:
    """Keep the first part of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))])
    return file


def cut_between_frames(file: Path, count: int) -> Path:
    """Keep `count` frames of a clip whose index lies at its beginning, each as a whole."""
    with av.open(str(file)) as container:
        ends = sorted(packet.pos + packet.size for packet in container.demux(video=0) if packet.size)
    file.write_bytes(file.read_bytes()[: ends[count - 1]])
    return file


def begin_between_key_frames(file: Path) -> Path:
    """Leave out the first sixth of a clip in packets of 188 bytes, as a recording does that begins at any time."""
    content = file.read_bytes()
    file.write_bytes(content[len(content) // 188 // 6 * 188 :])
    return file


def damage(file: Path, place: float, count: int = 2000) -> Path:
    """Write noise over a file, from a part of it on."""
    content = bytearray(file.read_bytes())
    start = int(place * len(content))
    content[start : start + count] = np.random.default_rng(0).integers(0, 256, count, dtype=np.uint8).tobytes()
    file.write_bytes(content)
    return file


def decoded(file: Path) -> list[tuple[Fraction, np.ndarray]]:
    """Time and pixels of each frame, by the library alone."""
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        return [(frame.pts * stream.time_base, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
