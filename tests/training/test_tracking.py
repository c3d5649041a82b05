"""Trackers are guests: what they get, that a resumed run is theirs again, and that none of them ends a training."""

import json
from typing import ClassVar

import numpy as np
import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from minorkey.config import load_config
from minorkey.errors import ConfigError
from minorkey.runs.load import config_of
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.training import tracking as room
from minorkey.training.checkpoint import checkpoints
from minorkey.training.tracking import TRACKERS, Tracking, check_trackers, tracking


def read_events(run: RunFolder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run.tracked / "tensorboard")).Reload()


def scalars(events, tag: str) -> dict[int, float]:
    return {event.step: event.value for event in events.Scalars(tag)}


@pytest.fixture
def tracked_run(make_config, console, tmp_path):
    pytest.importorskip("tensorboard")
    config = make_config(training={"steps": 4, "choose": "best_source", "judge_every": 2, "track": "tensorboard"})
    train(config, tmp_path / "run", console=console)
    return RunFolder(tmp_path / "run")


def test_tensorboard_has_the_log_the_scores_and_pictures(tracked_run):
    events, log = read_events(tracked_run), [json.loads(line) for line in tracked_run.log.read_text().splitlines()]
    losses = {record["step"]: record["loss"] for record in log if "loss" in record}
    assert list(losses) == [1, 2, 3, 4]
    assert scalars(events, "loss") == pytest.approx(losses)
    assert scalars(events, "lr").keys() == losses.keys()
    judged = {record["step"]: record["scores"]["clear"] for record in log if "scores" in record}
    assert scalars(events, "scores/clear") == pytest.approx(judged)
    scores = json.loads(tracked_run.metrics.read_text())
    assert scalars(events, "final/unseen mean")[4] == pytest.approx(scores["unseen_mean"]["score"])
    assert {"predictions/clear", "predictions/night"} == set(events.Tags()["images"])
    (text,) = events.Tensors("config/text_summary")
    assert b"training.lr: 0.001" in text.tensor_proto.string_val[0]


def test_a_resumed_run_goes_on_where_its_checkpoint_is(tracked_run, console):
    whole = scalars(read_events(tracked_run), "loss")
    known = tracked_run.tracked_as.read_text()
    for path in (tracked_run.metrics, tracked_run.cost, *checkpoints(tracked_run.checkpoints)[-1].iterdir()):
        path.unlink()
    train(config_of(tracked_run.path), tracked_run.path, resume=True, console=console)
    assert scalars(read_events(tracked_run), "loss") == pytest.approx(whole)
    assert tracked_run.tracked_as.read_text() == known


def test_where_nothing_is_tracked_nothing_is_written(finished_run):
    assert load_config(finished_run.config).training.track == []
    assert not finished_run.tracked.exists()
    assert not finished_run.tracked_as.exists()


def test_a_tracker_that_is_missing_is_said_before_anything(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="track is mlflow, which is not installed; pip install mlflow, or leave it"):
        train(make_config(training={"track": ["mlflow"]}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_tracker_is_one_of_accelerate():
    assert TRACKERS.keys() <= LOGGER_TYPE_TO_CLASS.keys()
    check_trackers([])


class Recorder(GeneralTracker):
    """A tracker of which anything may fail."""

    name = "wandb"
    requires_logging_directory = False
    fails: str | None = None
    made: ClassVar[list] = []

    def __init__(self, run_name, **settings):
        super().__init__()
        self.settings, self.calls = settings, []
        self.made.append(self)

    @property
    def tracker(self):
        return self

    def _called(self, name, *given):
        self.calls.append((name, *given))
        if self.fails == name:
            raise OSError("the network is down\nand more")

    def start(self):
        self._called("start")

    def store_init_configuration(self, values):
        self._called("config", values)

    def log(self, values, step):
        self._called("log", values, step)

    def log_images(self, values, step):
        self._called("images", values, step)

    def finish(self):
        self._called("finish")


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "wandb", Recorder)
    monkeypatch.setattr(room, "find_spec", lambda name: object())
    monkeypatch.setattr(Recorder, "made", [])
    return lambda fails=None: monkeypatch.setattr(Recorder, "fails", fails)


@pytest.mark.parametrize("fails", ["start", "config", "log", "images", "finish"])
def test_a_tracker_that_fails_is_left_out(make_config, console, tmp_path, recorder, fails):
    recorder(fails)
    train(make_config(training={"steps": 2, "track": "wandb"}), tmp_path / "run", console=console)
    assert RunFolder(tmp_path / "run").finished
    said = console.file.getvalue()
    assert "tracker wandb failed and is left out, the training goes on: the network is down\n" in said
    assert all(sum(call[0] == fails for call in each.calls) <= 1 for each in Recorder.made)


def test_it_is_one_run_offline_and_told_its_configuration_once(make_config, console, tmp_path, recorder, monkeypatch):
    recorder()
    monkeypatch.delenv("WANDB_MODE", raising=False)
    train(make_config(training={"steps": 2, "track": "wandb"}), tmp_path / "run", console=console)
    training, result = Recorder.made
    assert training.settings == result.settings
    assert (training.settings["mode"], training.settings["resume"], training.settings["name"]) == (
        "offline", "allow", "run",
    )  # fmt: skip
    (_, told), (_, first, step) = training.calls[1:3]
    assert told["training.steps"] == 2
    assert told["unseen"] == "['night']" or "world:night" in told["unseen"]
    assert (step, first["loss"] > 0) == (1, True)
    assert [call[0] for call in result.calls] == ["start", "log", "images", "finish"]
    assert {picture.shape for picture in result.calls[2][1].values()} == {(1, 32, 64, 3)}


def test_lists_and_words_of_a_record_are_left_out(console):
    tracked = Tracking(console, {"wandb": (recorded := Recorder("x"))})
    tracked.note(
        {"step": 3, "loss": 1, "by_class": [1.0, 2.0], "best": True, "word": "x", "scores": {"a": np.float64(2)}}
    )
    tracked.note({"step": 3, "incident": "words"})
    assert recorded.calls == [("log", {"loss": 1.0, "scores/a": 2.0}, 3)]


def test_a_link_out_of_the_run_is_not_followed(console, tmp_path, recorder):
    recorder()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tracked").symlink_to(tmp_path / "elsewhere")
    with tracking(["wandb"], RunFolder(tmp_path / "run"), {}, console) as tracked:
        assert not tracked.trackers
    assert "link out of" in console.file.getvalue()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_on_the_command_line(command, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    code, said = command("train", "demo", "--track", "wandb", "--track", "mlflow", "--out", tmp_path / "run")
    assert code == 2
    assert said == ("minorkey: training.track is wandb, which is not installed; pip install wandb, or leave it out\n")
    assert "did you mean 'tensorboard'?" in command("train", "demo", "--track", "tensorbord")[1]
