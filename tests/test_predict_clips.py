"""`minorkey predict` over clips: what is written, what goes on, and what is left alone."""

import json
import os
import re
import signal
import sys
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from clips import av, cut_between_frames, decoded, picture, turn, write_clip
from PIL import Image

from minorkey.data.video.frames import Sampling
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space
from minorkey.runs.load import load
from minorkey.runs.predict import predict_folder
from minorkey.tasks.classification.prediction import CategoryPrediction
from minorkey.tasks.detection.prediction import DetectionPrediction
from minorkey.tasks.segmentation.prediction import SegmentationPrediction


@pytest.fixture
def predict(finished_run, tmp_path, console):
    """Predict what is in `clips`, or something else, to `out`."""

    def run(images=tmp_path / "clips", **options):
        return predict_folder(finished_run.path, str(images), tmp_path / "out", console=console, **options)

    return run


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def state(folder):
    """Every file with its content, but for the records of what was made."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and ".made" not in file.parts}


def rate_of(file):
    with av.open(str(file)) as container:
        return container.streams.video[0].average_rate


def test_a_clip_in_and_a_clip_out(predict, console, tmp_path):
    rate = Fraction(30000, 1001)
    given = decoded(write_clip(tmp_path / "clips" / "a" / "drive.mp4", rate=rate))
    done = predict()
    assert (done.written, done.clips, done.skipped, done.problems) == (0, 1, 0, [])
    assert re.search(r"a/drive: frame 20/20  \d+\.\d frames/s  0:00 left", console.file.getvalue())
    overlay = tmp_path / "out" / "overlays" / "a" / "drive.mp4"
    shown = decoded(overlay)
    assert (rate_of(overlay), [time for time, _ in shown]) == (rate, [time for time, _ in given])
    assert {image.shape for _, image in shown} == {(32, 48, 3)}
    rows = lines(tmp_path / "out" / "clips" / "a" / "drive.jsonl")
    assert [row["frame"] for row in rows] == list(range(20))
    assert [row["seconds"] for row in rows] == pytest.approx([float(time) for time, _ in given], abs=1e-3)
    assert all(sum(row["shares"].values()) == pytest.approx(1, abs=1e-4) for row in rows)
    assert 'src="overlays/a/drive.mp4"' in (tmp_path / "out" / "predictions.html").read_text()


def test_each_frame_is_predicted_as_an_image_is(predict, finished_run, tmp_path):
    """The frames of a clip, as files of their own and in the overlay, beside images of one folder."""
    file = write_clip(tmp_path / "clips" / "drive.mp4", 6)
    Image.fromarray(picture(0)).save(tmp_path / "clips" / "photo.png")
    done = predict(frames=True)
    assert (done.written, done.clips) == (1, 1)
    model, shown = load(finished_run.path, device="cpu"), decoded(tmp_path / "out" / "overlays" / "drive.mp4")
    for index, (_, image) in enumerate(decoded(file)):
        expected = model.predict(image)
        ids = np.asarray(Image.open(tmp_path / "out" / "frames" / "drive" / f"{index:06d}.png"))
        assert np.array_equal(ids, expected.labels)
        # Colours are halved in H.264, and classes of random weights are speckles: the mean is what is left.
        assert np.abs(shown[index][1].mean((0, 1)) - np.asarray(expected.draw()).mean((0, 1))).max() < 6
    assert (tmp_path / "out" / "ids" / "photo.png").is_file()


@pytest.mark.parametrize("encoders", [("none", "mpeg4"), ("none",)])
def test_without_the_best_encoder(encoders, predict, tmp_path, monkeypatch):
    monkeypatch.setattr("minorkey.data.video.writer.ENCODERS", encoders)
    given = decoded(write_clip(tmp_path / "clips" / "drive.ts", 6))  # which counts in more ticks than MPEG-4 has
    if encoders[-1] == "none":
        with pytest.raises(ConfigError, match="PyAV has no encoder of none; add --no-overlays"):
            predict()
        return
    predict()
    shown = decoded(tmp_path / "out" / "overlays" / "drive.mp4")
    assert [time - shown[0][0] for time, _ in shown] == [time - given[0][0] for time, _ in given]


def test_some_frames_keep_their_times(predict, tmp_path):
    write_clip(tmp_path / "clips" / "drive.mp4")
    predict(sampling=Sampling(every=3, start=0.5, end=1.5))
    shown = decoded(tmp_path / "out" / "overlays" / "drive.mp4")
    rows = lines(tmp_path / "out" / "clips" / "drive.jsonl")
    assert [row["frame"] for row in rows] == [5, 8, 11, 14]
    assert [float(time - shown[0][0]) for time, _ in shown] == pytest.approx([0, 0.3, 0.6, 0.9])


def test_frames_of_one_clip_do_not_lie_in_the_folder_of_another(predict, tmp_path):
    for name in ("drive.mp4", "drive/x.mp4"):
        write_clip(tmp_path / "clips" / name, 2)
    assert predict().clips == 2
    with pytest.raises(ConfigError, match=r"'.*drive\.mp4' and '.*drive/x\.mp4' would lie in one folder, frames/drive"):
        predict(frames=True)


def test_the_command_line_takes_the_same(finished_run, command, tmp_path):
    clip, out = write_clip(tmp_path / "drive.mp4"), tmp_path / "out"
    options = ("--every", 4, "--start", 0.3, "--end", 1.2, "--frames", "--no-overlays", "--out", out)
    assert command("predict", finished_run.path, clip, *options)[0] == 0
    assert [row["frame"] for row in lines(out / "clips" / "drive.jsonl")] == [3, 7, 11]
    assert sorted(file.name for file in (out / "frames" / "drive").iterdir()) == [f"{n:06d}.png" for n in (3, 7, 11)]
    assert not (out / "overlays").exists()
    code, error = command("predict", finished_run.path, clip, "--start", 2, "--end", 1, "--out", out)
    assert (code, error) == (2, "minorkey: from 2 s to 1 s there is nothing; expected 0 <= start < end\n")


def test_sizes_are_even_and_clips_upright(predict, tmp_path):
    write_clip(tmp_path / "clips" / "odd.mkv", 4, codec="ffv1", pixels="yuv444p", size=(33, 47))
    turn(write_clip(tmp_path / "clips" / "phone.mp4", 4))
    first, second = write_clip(tmp_path / "a.ts", 4), write_clip(tmp_path / "b.ts", 4, size=(64, 32))
    (tmp_path / "clips" / "both.ts").write_bytes(first.read_bytes() + second.read_bytes())
    assert predict().clips == 3
    shapes = {
        name: {image.shape[:2] for _, image in decoded(tmp_path / "out" / "overlays" / f"{name}.mp4")}
        for name in ("odd", "phone", "both")
    }
    assert shapes == {"odd": {(34, 48)}, "phone": {(48, 32)}, "both": {(32, 48)}}
    sizes = [(row["height"], row["width"]) for row in lines(tmp_path / "out" / "clips" / "both.jsonl")]
    assert sizes == [(32, 48)] * 4 + [(64, 32)] * 4


def test_what_is_done_is_left_unless_it_is_asked_otherwise(predict, tmp_path):
    file = write_clip(tmp_path / "clips" / "drive.mp4")
    predict(frames=True)
    before = state(tmp_path / "out")
    assert (predict(frames=True).skipped, state(tmp_path / "out")) == (1, before)
    assert predict(sampling=Sampling(every=2)).clips == 1
    assert len(lines(tmp_path / "out" / "clips" / "drive.jsonl")) == 10
    assert not (tmp_path / "out" / "frames" / "drive").exists()  # of the clip as it was asked before
    write_clip(file, 8)
    assert predict(sampling=Sampling(every=2)).clips == 1
    assert len(lines(tmp_path / "out" / "clips" / "drive.jsonl")) == 4


def test_a_clip_that_ends_early_is_kept_and_named_each_time(finished_run, command, tmp_path):
    clip, out = write_clip(tmp_path / "drive.mp4", movflags="faststart"), tmp_path / "out"
    cut_between_frames(clip, 12)
    said = []
    for _ in range(2):
        code, error = command("predict", finished_run.path, clip, "--out", out)
        said.append((code, [line for line in error.splitlines() if "ends early" in line]))
    rows, shown = lines(out / "clips" / "drive.jsonl"), decoded(out / "overlays" / "drive.mp4")
    assert len(rows) == len(shown) > 4
    assert said[0] == (2, [said[0][1][0]])
    assert f"drive.mp4: ends early, after frame {len(rows) - 1} at" in said[0][1][0]
    assert said[1] == said[0]


def test_of_broken_clips_nothing_is_written(predict, tmp_path):
    for name in ("a.mp4", "b.mkv"):
        (tmp_path / "clips" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "clips" / name).write_text("no clip")
    write_clip(tmp_path / "clips" / "c.mp4", 4)
    done = predict()
    assert (done.clips, [problem.count("is no clip that can be read") for problem in done.problems]) == (1, [1, 1])
    assert {file.stem for file in (tmp_path / "out" / "clips").iterdir()} == {"c"}


def test_a_clip_that_is_interrupted_starts_anew(predict, tmp_path, monkeypatch):
    write_clip(tmp_path / "clips" / "drive.mp4")
    draw, drawn = SegmentationPrediction.draw, []

    def interrupted(self):
        drawn.append(self)
        if len(drawn) == 8:
            raise KeyboardInterrupt
        return draw(self)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationPrediction, "draw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict(frames=True)
    assert {file.name for file in state(tmp_path / "out")} == {"classes.json"}
    assert predict(frames=True).clips == 1
    assert len(decoded(tmp_path / "out" / "overlays" / "drive.mp4")) == 20


@pytest.mark.parametrize(
    "theirs", ["overlays/drive.mp4", "clips/drive.jsonl", "clips/drive.json", "frames/drive/a.png"]
)
def test_files_of_the_user_stay(theirs, predict, tmp_path):
    write_clip(tmp_path / "clips" / "drive.mp4", 4)
    (tmp_path / "out" / theirs).parent.mkdir(parents=True)
    (tmp_path / "out" / theirs).write_text("the user's own")
    before = state(tmp_path / "out")
    with pytest.raises(ConfigError, match="is there already, and nothing says of what it was made"):
        predict()
    assert state(tmp_path / "out") == before


def test_a_clip_and_an_image_of_one_name(predict, tmp_path):
    write_clip(tmp_path / "clips" / "a.mp4", 2)
    Image.fromarray(picture(0)).save(tmp_path / "clips" / "a.png")
    with pytest.raises(ConfigError, match="would be written under one name, 'a'; predict their"):
        predict()


def test_without_the_library_clips_are_named_before_anything_is_done(predict, tmp_path, monkeypatch):
    write_clip(tmp_path / "clips" / "a.mp4", 2)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"video needs the package PyAV: pip install 'minorkey\[video\]'$"):
        predict()
    assert not (tmp_path / "out").exists()


class Camera(BaseHTTPRequestHandler):
    """Sends a clip and then nothing, as a camera whose picture stands still does; the connection stays."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.clip)
        self.server.sent(self)

    def log_message(self, *words):
        pass


@pytest.fixture
def camera(tmp_path):
    """The address of a stream that does not end by itself."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as served:
        served.clip = write_clip(tmp_path / "live.ts", 30).read_bytes()
        served.daemon_threads, served.block_on_close = True, False
        served.sent = lambda handler: handler.connection.recv(1)  # until the other side hangs up
        thread = Thread(target=served.serve_forever)
        thread.start()
        yield f"http://user:secret@127.0.0.1:{served.server_port}/live"
        served.shutdown()
        thread.join()


def test_a_stream_ends_with_control_c_and_its_files_whole(predict, camera, tmp_path, monkeypatch):
    monkeypatch.setattr("minorkey.data.video.clip.PATIENCE", 2.0)
    draw, drawn = SegmentationPrediction.draw, []

    def interrupting(self):
        drawn.append(self)
        if len(drawn) == 10:
            os.kill(os.getpid(), signal.SIGINT)
        return draw(self)

    monkeypatch.setattr(SegmentationPrediction, "draw", interrupting)
    done = predict(camera)
    assert (done.clips, done.problems) == (1, [])
    (overlay,) = (tmp_path / "out" / "overlays").glob("http-127-0-0-1-*-live-*.mp4")
    rows = lines(tmp_path / "out" / "clips" / f"{overlay.stem}.jsonl")
    assert len(decoded(overlay)) == len(rows) >= 10
    assert not any(b"secret" in content for content in state(tmp_path / "out").values())


def test_a_clip_from_python(finished_run, tmp_path):
    file = cut_between_frames(write_clip(tmp_path / "drive.mp4", movflags="faststart"), 12)
    model, found = load(finished_run.path, device="cpu"), []
    with pytest.raises(DataError, match="ends early"):
        found.extend(model.predict_video(file, every=2))
    assert [frame.index for frame, _ in found] == list(range(0, 2 * len(found), 2))
    for frame, prediction in found:
        assert np.array_equal(prediction.labels, model.predict(frame.image).labels)
    for wrong, reason in (
        ({"every": 0}, "none can be taken"),
        ({"every": 1.5}, "every is 1.5"),
        ({"end": np.nan}, "nothing"),
    ):
        with pytest.raises(ConfigError, match=reason):
            model.predict_video(file, **wrong)
    first = next(model.predict_video(file, start=0.3))  # and no more is asked for
    assert (first[0].index, first[0].seconds) == (3, 0.3)


def test_the_line_of_a_frame():
    space, image = label_space("street7"), np.zeros((2, 2, 3), np.uint8)
    first, second = space.classes[:2]
    ids = np.array([[0, 0], [1, 255]], np.uint8)
    assert SegmentationPrediction(ids, image, space).line() == {"shares": {first: 0.5, second: 0.25}}
    boxes = DetectionPrediction(
        np.array([[0, 0, 2, 1]], np.float32), np.array([0.5], np.float32), np.array([1]), image, space
    )
    box = {"category_id": 1, "category_name": second, "bbox": [0.0, 0.0, 2.0, 1.0], "score": 0.5}
    assert boxes.line() == {"objects": [box]}
    probabilities = np.zeros(len(space), np.float32)
    probabilities[1] = 1
    line = CategoryPrediction(probabilities, image, space).line()
    assert (line["class"], line["probabilities"][second]) == (second, 1)
