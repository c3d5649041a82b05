"""A clip or a stream, decoded one frame after the other in memory that does not grow with its length."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from minorkey.data.video.frames import ALL, Frame, Sampling
from minorkey.data.video.library import LIVE_TO_DO, TO_DO, clip_faults, is_stream, pyav, title
from minorkey.errors import DataError
from minorkey.system.ahead import THREADS
from minorkey.system.regular import open_regular

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg,h264,hevc,mpegvideo,ivf,dv"
"""Of files. Playlists are not among them, for they name other files and addresses."""

PROTOCOLS = "http,https,httpproxy,tls,tcp,udp,rtp,rtsp,rtsps,rtmp,rtmps,srt,crypto"
"""What a stream may use, and lead to. Files are not among them."""

PATIENCE = 10.0
"""Seconds that a stream may say nothing."""

LARGEST = 2**27
"""Pixels of a frame; one of 8K has a quarter."""

SLACK = 0.02
"""Part of a clip's length, or of its frames, that may be missing before it is said to end early."""

STATED = ("mov", "matroska", "avi", "asf", "flv")
"""Containers that say at their beginning where they end; of others FFmpeg guesses."""

LONGER_SOUND = 1.0
"""Seconds by which sound may be longer than the pictures, where only the length of both is stated."""

ANY_RATE = Fraction(25)
"""Frames a second where a clip does not state how many, or what cannot be."""

RATES = (Fraction(1, 3600), Fraction(1000))

COUNTED = ("mpeg",)
"""Containers in which times after a seek are not those of a reading from the beginning; their frames are counted."""

REORDERED = ("h264", "hevc")
"""Codecs of which FFmpeg cannot tell when a picture is shown, where the container does not say."""

TOLD = Fraction(1, 20_000)
"""Seconds by which a time that is given may be off: they are told with four decimals."""

CUT_ANYWHERE = ("mpegts", "mpeg")
"""Containers of recordings that begin between two key frames, where the first frames cannot be decoded."""


class Clip:
    """An open clip or stream; made by `opened_clip`."""

    def __init__(self, container: Any, name: str, live: bool) -> None:
        self.name, self.live, self._container = name, live, container
        self._stream = _pictures_of(container, name)
        self._decoding = self._decode()
        self._tick = Fraction(self._stream.time_base or Fraction(1, 90_000))
        rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or ANY_RATE)
        self.rate = rate if RATES[0] <= rate <= RATES[1] else ANY_RATE

    def close(self) -> None:
        """Let go of the decoder, with which its threads end.

        Where the garbage collector has to find it, it may be in a worker that was forked meanwhile, which would wait
        for threads that it does not have, for ever.
        """
        self._decoding.close()
        del self._stream, self._container

    @property
    def tick(self) -> Fraction:
        """Seconds that times are counted in."""
        return self._tick

    @property
    def counted(self) -> bool:
        """Whether its frames are told apart by their number alone."""
        return self._container.format.name in COUNTED or self._untimed

    @property
    def _untimed(self) -> bool:
        """Whether its times are those of decoding: an AVI has no others, and FFmpeg takes them for those of showing."""
        codec = self._stream.codec_context
        return self._container.format.name == "avi" and codec.name in REORDERED and bool(codec.has_b_frames)

    @property
    def seconds(self) -> float | None:
        """How long it is, as it states; None: it does not."""
        if self.live:
            return None
        if self._stream.duration:
            return float(self._stream.duration * self._tick)
        return self._container.duration / 1e6 if self._container.duration else None

    def expected(self, asked: Sampling = ALL) -> int | None:
        """About how many frames `frames` will give; None: the clip does not say."""
        if self.seconds is None:
            return None
        until = self.seconds if asked.end is None else min(asked.end, self.seconds)
        return max(1, round((until - asked.start) * float(self.rate) / asked.every))

    def frames(self, asked: Sampling = ALL) -> Iterator[Frame]:
        """Decode it, once.

        Raises:
            DataError: it is damaged, ends early, or there is no such frame; frames before the damage are given first.
        """
        first, index, time = None, -1, Fraction(0)
        start = Fraction(str(asked.start)) - TOLD
        end = None if asked.end is None else Fraction(str(asked.end)) - TOLD
        for index, time, picture in self._pictures():
            if end is not None and time >= end:
                break
            if time < start:
                continue
            first = index if first is None else first
            if (index - first) % asked.every == 0:
                yield Frame(index, time, pixels_of(picture, self.name))
        else:
            self.check_end(index, time)
        if first is None:
            span = f"at {asked.start:g} s or later" if asked.end is None else f"from {asked.start:g} to {asked.end:g} s"
            which = "the next one" if end is not None and time >= end else "the last"
            raise DataError(f"{self.name}: no frame lies {span}, {which} is at {float(time):.2f} s")

    def stamps(self) -> Iterator[int | None]:
        """The time of each frame in ticks of the container, in the order that they lie in, without decoding one.

        Raises:
            DataError: the clip cannot be read on.
        """
        packets, number = self._container.demux(self._stream), 0
        while True:
            with clip_faults(self.name, f"is damaged at frame {number}"):
                packet = next(packets, None)
            if packet is None:
                return
            if packet.size and not packet.is_discard:
                number += 1
                yield packet.pts

    def pixels_at(self, stamp: int, back: Fraction | None) -> np.ndarray | None:
        """The frame of a time in ticks, decoded from the key frame that lies `back` seconds or more before it.

        The last frame of the clip where the clip ends before; None where there is no key frame before.

        Args:
            stamp: time of the frame.
            back: seconds; None: it is decoded from the beginning.

        Raises:
            DataError: the clip is damaged there.
        """
        before, found = 0 if back is None else int(back / self._tick), None
        with clip_faults(self.name, f"is damaged near {float(stamp * self._tick):.1f} s"):
            try:
                self._container.seek(0 if back is None else stamp - before, stream=self._stream)
            except pyav().FFmpegError:  # its index has no key frame there, as that of an AVI with B-frames has not
                if back is None:
                    raise
                return None
            for picture in self._decode():
                if found is None and back is not None and (picture.pts is None or picture.pts > stamp):
                    return None
                found = picture
                if picture.pts is not None and picture.pts >= stamp:
                    break
        if found is not None and found.is_corrupt:
            raise DataError(f"{self.name}: is damaged near {float(stamp * self._tick):.1f} s; {TO_DO}")
        return None if found is None else pixels_of(found, self.name)

    def _pictures(self) -> Iterator[tuple[int, Fraction, Any]]:
        """Number, time and undecoded colours of each frame. Times rise: a clip that jumps back goes on from there."""
        origin, last, index = None, None, 0
        while (picture := self._next(index, last)) is not None:
            # Pictures come as they are shown, whatever their times; those of decoding come in order with them.
            stamp = picture.dts if self._untimed else picture.pts
            time = index / self.rate if stamp is None else stamp * self._tick
            origin = time if origin is None else origin
            if last is not None and time - origin <= last:
                origin = time - last - 1 / self.rate
            last = time - origin
            yield index, last, picture
            index += 1

    def _next(self, index: int, last: Fraction | None) -> Any:
        when = "" if last is None else f", after {float(last):.1f} s"
        what = "the stream broke off" if self.live else f"is damaged at frame {index}{when}"
        with clip_faults(self.name, what, LIVE_TO_DO if self.live else TO_DO):
            picture = next(self._decoding, None)
        if picture is not None and picture.is_corrupt:
            raise DataError(f"{self.name}: {what} (a part of it is missing); {TO_DO}")
        return picture

    def _decode(self) -> Generator[Any]:
        """The pictures; of a stream, and before the first one of what was cut anywhere, without those that are broken.

        What was lost on the way of a stream does not come again, and the next pictures may be whole.
        """
        broken, shown = pyav().error.InvalidDataError, False
        cut = self._container.format.name in CUT_ANYWHERE
        for packet in self._container.demux(self._stream):
            lenient = self.live or (cut and not shown)
            try:
                pictures = packet.decode()
            except broken:
                if not lenient:
                    raise
                continue
            for picture in pictures:
                if lenient and picture.is_corrupt:
                    continue
                shown, lenient = True, self.live
                yield picture

    def check_end(self, index: int, time: Fraction) -> None:
        """Raise `DataError` where the last frame, with this number and time, is not at the end that the clip states."""
        if index < 0:
            raise DataError(f"{self.name}: holds no frame that can be decoded; {TO_DO}")
        if self.seconds is None or not self._container.format.name.startswith(STATED):
            return
        frames, few = self._stream.frames, 3
        if frames and frames - index - 1 <= max(SLACK * frames, few):  # the last one may be shown for long
            return
        each = max(1 / self.rate, time / max(1, index))  # a recording may state a rate that it does not keep
        missing = self.seconds - float(time + each)
        if missing > max(SLACK * self.seconds, few * each, 0 if self._stream.duration else LONGER_SOUND):
            raise DataError(
                f"{self.name}: ends early, after frame {index} at {float(time):.1f} of {self.seconds:.1f} s; {TO_DO}"
            )


@contextmanager
def opened_clip(source: str | Path) -> Iterator[Clip]:
    """A clip, or a stream: an address or a camera (`is_stream`), which are opened only here.

    A file names no other that would be opened, and its content decides on its form, not its suffix.

    Raises:
        ConfigError: PyAV is not installed.
        DataError: it is missing, cannot be read, or shows nothing.
    """
    av, name, live = pyav(), title(source), is_stream(source)
    with ExitStack() as stack:
        what = ("cannot be opened", LIVE_TO_DO) if live else ("is no clip that can be read", TO_DO)
        bounds = {"max_pixels": str(LARGEST)}  # while it is looked at for what it holds, too
        with clip_faults(name, *what):
            if live:
                camera = str(source).startswith("/dev/")
                options = {} if camera else {"protocol_whitelist": PROTOCOLS, "rtsp_transport": "tcp"} | bounds
                form = "v4l2" if camera else None
                container = av.open(str(source), format=form, options=options, timeout=(PATIENCE, PATIENCE))
            else:
                file = stack.enter_context(open_regular(source))
                options = {"format_whitelist": FORMATS, "protocol_whitelist": "none"} | bounds
                container = av.open(file, options=options)
            stack.enter_context(container)
        yield stack.enter_context(closing(Clip(container, name, live)))


def _pictures_of(container: Any, name: str) -> Any:
    """The stream of pictures in a container, set up to be decoded in a few threads."""
    # A cover in a file of music is a picture too, of which there is one.
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not streams:
        what = "sound alone" if container.streams.audio else "nothing to see"
        raise DataError(f"{name}: holds {what}, expected a video; leave it out")
    stream = streams[0]
    if stream.codec_context is None:
        raise DataError(f"{name}: is coded in a way that this FFmpeg cannot decode; convert it, e.g. to H.264 in MP4")
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = THREADS
    stream.codec_context.options = {"max_pixels": str(LARGEST)}
    return stream


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def pixels_of(picture: Any, name: str) -> np.ndarray:
    """A decoded frame as `(H, W, 3)` uint8 RGB, upright as the clip states.

    Raises:
        DataError: it is too large, or its colours cannot be read.
    """
    if picture.width * picture.height > LARGEST:
        raise DataError(f"{name}: a frame has {picture.width}x{picture.height} pixels, at most {LARGEST} are read")
    with clip_faults(name, "has colours that cannot be read"):
        image = picture.to_ndarray(format="rgb24")
    return _upright(image, picture)


def _upright(image: np.ndarray, picture: Any) -> np.ndarray:
    """The colours of a frame, turned and mirrored as its clip states: by quarters of a turn."""
    known = pyav().sidedata.sidedata
    # Not `picture.side_data`: each would hold the other, and threads with them, until the garbage collector comes.
    stated = known.SideDataContainer(picture).get(known.Type.DISPLAYMATRIX)
    if stated is None:
        return image
    # Of a place (x, y): to the right it goes by (right, down), and by (aside, below) for each step down.
    right, down, _, aside, below = np.frombuffer(bytes(stated), np.int32)[:5].tolist()
    if abs(down) > abs(right):
        image, right, below = image.swapaxes(0, 1), aside, down
    return np.ascontiguousarray(image[:: -1 if below < 0 else 1, :: -1 if right < 0 else 1])
