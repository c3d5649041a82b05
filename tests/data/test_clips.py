"""Clips decoded: whole ones, strange ones and broken ones."""

import gc
import os
import shutil
import sys
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from clips import av, begin_between_key_frames, cut, cut_between_frames, damage, number, turn, write_clip

from minorkey.data.video.clip import opened_clip
from minorkey.data.video.frames import Sampling
from minorkey.data.video.library import is_stream, title
from minorkey.data.video.lookup import frame_at, table_of
from minorkey.errors import ConfigError, DataError


def frames_of(file, **sampling):
    with opened_clip(file) as clip:
        return list(clip.frames(Sampling(**sampling)))


def until_damage(file):
    """The frames before a clip breaks, and the error."""
    frames = []
    with opened_clip(file) as clip, pytest.raises(DataError) as error:
        frames.extend(clip.frames())
    return frames, str(error.value)


@pytest.mark.parametrize(
    ("name", "options"),
    {
        "a.mp4": {},
        "a.mkv": {},
        "a.ts": {},
        "a.avi": {"codec": "mpeg4"},
        "a.webm": {"codec": "libvpx-vp9"},
        "odd.mkv": {"codec": "ffv1", "pixels": "yuv444p", "size": (33, 47)},
    }.items(),
)
def test_every_frame_of_a_clip(tmp_path, name, options):
    file = write_clip(tmp_path / name, **options)
    frames = frames_of(file)
    assert [frame.index for frame in frames] == list(range(20))
    assert [number(frame.image) for frame in frames] == list(range(20))
    assert [frame.seconds for frame in frames] == pytest.approx([index / 10 for index in range(20)], abs=1e-3)
    assert frames[0].image.shape == (*options.get("size", (32, 48)), 3)


def test_some_frames_of_a_clip(tmp_path):
    file = write_clip(tmp_path / "a.mp4")
    assert [frame.index for frame in frames_of(file, every=6)] == [0, 6, 12, 18]
    assert [frame.index for frame in frames_of(file, every=4, start=0.5, end=1.4)] == [5, 9, 13]
    with opened_clip(file) as clip:
        assert (clip.expected(), clip.expected(Sampling(every=5, start=0.5))) == (20, 3)
    with pytest.raises(DataError, match=r"a\.mp4: no frame lies at 9 s or later, the last is at 1\.90 s$"):
        frames_of(file, start=9)
    with pytest.raises(ConfigError, match="there is nothing; expected 0 <= start < end"):
        Sampling(start=2, end=1)


@pytest.mark.skipif(sys.platform != "linux", reason="threads of a library are counted as Linux shows them")
def test_a_clip_that_is_done_with_leaves_no_thread_for_the_garbage_collector(tmp_path):
    file = write_clip(tmp_path / "a.mp4", 20)
    threads = Path("/proc/self/task")
    spot = table_of(file, every=5).spots[1]
    before = len(list(threads.iterdir()))
    gc.disable()  # in a forked worker it would wait for threads that only this process has
    try:
        frame_at(file, spot)
        with opened_clip(file) as clip:
            next(clip.frames())
            assert len(list(threads.iterdir())) > before
        assert len(list(threads.iterdir())) == before
    finally:
        gc.enable()


def test_uneven_times_are_kept(tmp_path):
    times = [Fraction(index * index, 100) for index in range(20)]
    frames = frames_of(write_clip(tmp_path / "a.mkv", times=times))
    assert [frame.seconds for frame in frames] == pytest.approx([float(time) for time in times], abs=1e-3)


def test_a_recording_that_drops_frames_does_not_end_early(tmp_path):
    times = [Fraction(index, 10) + Fraction(index % 2, 50) for index in range(20)]
    file = write_clip(tmp_path / "a.mkv", rate=25, times=times)  # 25 a second are stated
    assert len(frames_of(file)) == table_of(file).count == 20
    assert table_of(file).problem == ""


@pytest.mark.parametrize(
    ("how", "upright"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda image: np.rot90(image, 2).swapaxes(0, 1)),
    ],
)
def test_a_clip_is_turned_and_mirrored_upright(how, upright, tmp_path):
    file = write_clip(tmp_path / "a.mp4")
    copied = Path(shutil.copy(file, tmp_path / "b.mp4"))  # an encoder with threads may write other bytes the next time
    straight, turned = frames_of(file)[3].image, frames_of(turn(copied, how))[3].image
    assert np.array_equal(turned, upright(straight))


def test_a_span_of_time_begins_and_ends_at_frames_as_their_times_are_told(tmp_path):
    file = write_clip(tmp_path / "a.mkv", rate=30)
    times = [round(frame.seconds, 4) for frame in frames_of(file)]
    for first in range(19):
        assert [frame.index for frame in frames_of(file, start=times[first], end=times[first + 1])] == [first]
    gap = write_clip(tmp_path / "b.mkv", times=[Fraction(each) for each in (0, 1, 6, 7)], frames=4)
    with pytest.raises(DataError, match=r"b\.mkv: no frame lies from 2 to 4 s, the next one is at 6\.00 s$"):
        frames_of(gap, start=2, end=4)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_frames_of_an_avi_are_in_order_whatever_they_were_coded_of(codec, tmp_path):
    file = write_clip(tmp_path / "a.avi", codec=codec, b_frames=2)
    frames = frames_of(file)
    assert [frame.seconds for frame in frames] == pytest.approx([index / 10 for index in range(20)])
    for spot, frame in zip(table_of(file, every=1).spots, frames, strict=True):
        assert np.array_equal(frame_at(file, spot), frame.image), spot


def test_colours_of_the_clip_as_it_states_them(tmp_path):
    """BT.709 and BT.601 of one colour are two sets of bytes, and come out as one."""
    for name, space in (("a.mkv", "bt709"), ("b.mkv", "smpte170m")):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("ffv1", rate=10)
            stream.height, stream.width, stream.pix_fmt = 16, 16, "yuv444p"
            stream.codec_context.colorspace = {"bt709": 1, "smpte170m": 6}[space]
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), (200, 40, 90), np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv444p", dst_colorspace={"bt709": 1, "smpte170m": 5}[space])
            frame.pts, frame.colorspace = 0, {"bt709": 1, "smpte170m": 6}[space]
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        assert frames_of(tmp_path / name)[0].image[8, 8].astype(int) == pytest.approx([200, 40, 90], abs=4), space


def test_sizes_may_change_and_times_jump_back(tmp_path):
    first, second = write_clip(tmp_path / "a.ts"), write_clip(tmp_path / "b.ts", size=(64, 32))
    first.write_bytes(first.read_bytes() + second.read_bytes())
    frames = frames_of(first)
    assert [frame.image.shape[:2] for frame in frames] == [(32, 48)] * 20 + [(64, 32)] * 20
    assert [frame.seconds for frame in frames] == pytest.approx([index / 10 for index in range(40)])


FASTSTART = {"movflags": "faststart"}


def test_a_clip_that_ends_early_says_where(tmp_path):
    frames, error = until_damage(cut_between_frames(write_clip(tmp_path / "a.mp4", 30, **FASTSTART), 16))
    assert 8 < len(frames) < 22
    assert [number(frame.image) for frame in frames] == list(range(len(frames)))
    end = f"{frames[-1].seconds:.1f}"
    assert f"a.mp4: ends early, after frame {len(frames) - 1} at {end} of 3.0 s; copy it again" in error


def test_a_clip_that_is_damaged_says_where(tmp_path):
    frames, error = until_damage(damage(write_clip(tmp_path / "a.mp4", 30, **FASTSTART), 0.5))
    assert 4 < len(frames) < 26
    assert [number(frame.image) for frame in frames] == list(range(len(frames)))
    assert f"a.mp4: is damaged at frame {len(frames)}, after {frames[-1].seconds:.1f} s (" in error


def test_a_recording_that_begins_between_key_frames(tmp_path):
    frames = frames_of(begin_between_key_frames(write_clip(tmp_path / "a.ts", 30)))
    numbers = [number(frame.image) for frame in frames]
    assert numbers == list(range(numbers[0], 30))
    assert 0 < numbers[0] <= 16
    assert [frame.seconds for frame in frames] == pytest.approx([index / 10 for index in range(len(frames))])


def test_what_a_stream_loses_is_passed_over(server, tmp_path):
    damage(write_clip(tmp_path / "a.ts", 30), 0.5)
    with opened_clip(f"{server}/a.ts") as clip:
        numbers = [number(frame.image) for frame in clip.frames()]
    assert numbers[0] == 0
    assert numbers[-1] == 29


def sound(file):
    with av.open(str(file), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def without_index(file):
    cut(write_clip(file), 0.5)


def playlist(file):
    file.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n")
    write_clip(file.with_name("other.ts"))


def concatenation(file):
    write_clip(file.with_name("other.mp4"))
    file.write_text("ffconcat version 1.0\nfile other.mp4\n")


def unknown_code(file):
    file.write_bytes(write_clip(file).read_bytes().replace(b"avc1", b"zzzz"))


NO_CLIPS = {
    "empty": (lambda file: file.write_bytes(b""), "is no clip that can be read"),
    "text": (lambda file: file.write_text("hello"), "is no clip that can be read"),
    "coded otherwise": (unknown_code, "is coded in a way that this FFmpeg cannot decode; convert it"),
    "sound": (sound, "holds sound alone, expected a video"),
    "cut, index at its end": (without_index, "is no clip that can be read"),
    "a playlist": (playlist, "is no clip that can be read"),
    "a list of files": (concatenation, "is no clip that can be read"),
    "a pipe": (lambda file: os.mkfifo(file), "it is no regular file"),
    "a folder": (lambda file: file.mkdir(), "is no clip that can be read"),
    "missing": (lambda file: None, "No such file"),
}


@pytest.mark.parametrize("case", NO_CLIPS)
def test_what_is_no_clip(tmp_path, case):
    write, words = NO_CLIPS[case]
    write(tmp_path / "a.mp4")
    with pytest.raises(DataError) as error:
        frames_of(tmp_path / "a.mp4")
    assert words in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "a.mp4"))


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")])
def test_whatever_a_clip_holds_are_frames_or_one_line(tmp_path, name, codec):
    rng, whole = np.random.default_rng(0), write_clip(tmp_path / name, 12, codec=codec).read_bytes()
    lines = []
    for _ in range(25):
        content = bytearray(whole)
        for place in rng.integers(len(content), size=rng.integers(1, 30)):
            content[place] = rng.integers(256)
        (tmp_path / name).write_bytes(content)
        for read in (frames_of, table_of):
            try:
                read(tmp_path / name)
            except DataError as error:
                lines.append(str(error))
    assert lines
    assert all(line.startswith(f"{tmp_path / name}: ") for line in lines)


def test_what_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("minorkey.data.video.clip.LARGEST", 32 * 48 - 1)
    with pytest.raises(DataError, match=r"a\.mp4: "):
        frames_of(write_clip(tmp_path / "a.mp4"))


def test_streams_are_named_and_their_secrets_are_not():
    streams = ["rtsp://a/b", "http://a", "https://a/b.m3u8", "/dev/video0", "udp://@:1234"]
    assert all(map(is_stream, streams))
    assert not any(map(is_stream, ["a.mp4", "/dev/null", "file:///a.mp4", "a/http://b", "concat:a|b", "/dev/video"]))
    assert title("rtsp://me:secret@camera:554/one?token=x") == "rtsp://camera:554/one"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture
def server(tmp_path):
    """The address of a folder, over HTTP on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as served:
        thread = Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_an_address_is_opened_when_it_is_named(server, tmp_path):
    write_clip(tmp_path / "a.ts")
    with opened_clip(f"{server}/a.ts") as clip:
        assert (clip.live, clip.expected()) == (True, None)
        assert [number(frame.image) for frame in clip.frames()] == list(range(20))
    with pytest.raises(DataError, match=r"/none\.ts: cannot be opened \(.*\); check the address"):
        frames_of(f"{server}/none.ts")


def test_a_stream_leads_to_no_file(server, tmp_path, monkeypatch):
    monkeypatch.setattr("minorkey.data.video.clip.PATIENCE", 1.0)
    write_clip(tmp_path / "a.ts")
    (tmp_path / "a.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{tmp_path}/a.ts\n")
    with pytest.raises(DataError):
        frames_of(f"{server}/a.m3u8")


def test_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"video needs the package PyAV: pip install 'minorkey\[video\]'$"):
        frames_of(tmp_path / "a.mp4")
