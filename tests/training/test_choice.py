"""Choosing weights while training changes which weights are kept, and nothing of the training."""

import json

import pytest
import torch
from safetensors.torch import load_file

from minorkey.config import load_config
from minorkey.errors import ConfigError
from minorkey.evaluation.options import EvaluationOptions
from minorkey.runs.evaluate import evaluate
from minorkey.runs.load import config_of, protocol_of
from minorkey.runs.train import train as train_run
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.metric import Metric
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.training.checkpoint import checkpoints
from minorkey.training.options import TrainingOptions
from minorkey.training.weights import BestWeights

STEPS = {"steps": 4, "checkpoint_every": 2, "judge_every": 1}


def _records(folder: RunFolder) -> list[dict]:
    return [json.loads(line) for line in folder.log.read_text().splitlines()]


def _judged(folder: RunFolder) -> list[dict]:
    return [record for record in _records(folder) if "scores" in record]


def test_of_equal_scores_the_earliest_is_kept():
    best = BestWeights()
    weight = torch.zeros(2)
    taken = []
    for step, score in enumerate((0.2, 0.5, 0.5, 0.4, 0.6, 0.6)):
        weight.fill_(step)
        taken.append(best.offer(step, score, {"w": weight}))
    assert taken == [True, True, False, False, True, False]
    assert (best.step, best.score) == (4, 0.6)
    assert torch.equal(best.tensors["w"], torch.full((2,), 4.0))


def test_the_lowest_error_is_the_best():
    best = BestWeights()
    taken = [best.offer(step, error, {}, rank=float) for step, error in enumerate((3.0, 1.0, 1.5, 0.5))]
    assert (taken, best.step, best.score) == ([True, True, False, True], 3, 0.5)


LOW = Metric(
    "error", "One minus the accuracy of pixels.", Segmentation.metrics["miou"].evaluator, higher_is_better=False
)


def test_weights_and_patience_go_by_the_direction_of_the_metric(train, monkeypatch):
    """Scores are those of the mean IoU here, said to be an error."""
    judged = _judged(train("low", {"metric": f"{__name__}:LOW"}, choose="best_source"))
    scores = [record["scores"]["clear"] for record in judged]
    best = [record["step"] for record in judged if record["best"]][-1]
    assert best == judged[scores.index(min(scores))]["step"]


@pytest.fixture
def train(make_config, console, tmp_path):
    def run(name: str, evaluation: dict | None = None, **training) -> RunFolder:
        head = {"name": "linear", "dropout": 0.3}
        config = make_config(training=STEPS | training, head=head, method="lora", evaluation=evaluation or {})
        train_run(config, tmp_path / name, console=console)
        return RunFolder(tmp_path / name)

    return run


def _assert_same(left, right):
    a, b = load_file(left), load_file(right)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("choose", "domain"), [("best_source", "clear"), ("oracle", "night")])
def test_judging_in_between_leaves_the_training_as_it_was(train, choose, domain):
    plain, chosen = train("plain", choose="last"), train("chosen", choose=choose)
    for part in ("adapter", "head", "optimizer"):
        _assert_same(*(checkpoints(run.checkpoints)[-1] / f"{part}.safetensors" for run in (plain, chosen)))
    losses = [[(r["step"], r["loss"]) for r in _records(run) if "loss" in r] for run in (plain, chosen)]
    assert losses[0] == losses[1]
    assert [list(record["scores"]) for record in _judged(chosen)] == [[domain]] * 4
    assert not _judged(plain)


@pytest.mark.parametrize("classes", [None, ["road", "sky"]])
def test_the_best_weights_are_deployed_and_said(train, classes):
    run = train("best", {"classes": classes}, choose="oracle")
    judged = _judged(run)
    best = max(judged, key=lambda record: (record["scores"]["night"], -record["step"]))
    assert [record["step"] for record in judged if record["best"]][-1] == best["step"]
    scores = json.loads(run.metrics.read_text())
    assert scores["protocol"]["weights"] == "oracle"
    assert scores["unseen_mean"]["score"] == pytest.approx(best["scores"]["night"], abs=1e-12)
    kept = load_file(checkpoints(run.checkpoints)[-1] / "best.safetensors")
    for name, value in load_file(run.head).items():
        assert torch.equal(value, kept[f"head.{name}"])


def test_the_choice_is_resumed(train, console):
    """Killed after step 2 with the best weights of a step before."""
    whole = train("whole", choose="oracle")
    half = train("half", choose="oracle")
    for path in (half.metrics, half.cost, half.head):
        path.unlink()
    last = checkpoints(half.checkpoints)[-1]
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    train_run(config_of(half.path), half.path, resume=True, console=console)
    _assert_same(half.head, whole.head)
    for part in ("best", "head", "optimizer"):
        _assert_same(*(checkpoints(run.checkpoints)[-1] / f"{part}.safetensors" for run in (half, whole)))
    assert _judged(half) == _judged(whole)


@pytest.mark.parametrize(("steps", "snapshots"), [(100, 6), (10, 6), (3, 6), (40_000, 6), (7, 1)])
def test_pictures_are_taken_as_often_as_asked_at_most(steps, snapshots):
    every = TrainingOptions(steps=steps, snapshots=snapshots).snapshot_every
    taken = [step for step in range(1, steps + 1) if step % every == 0 or step == steps]
    assert min(steps, snapshots) * 0.8 <= len(taken) <= snapshots


def test_there_must_be_something_to_choose_on(make_config, console, tmp_path):
    config = make_config(unseen=[], training=STEPS | {"choose": "oracle"})
    with pytest.raises(ConfigError, match="choose is oracle, but there is no unseen domain to choose on; use last"):
        train_run(config, tmp_path / "run", console=console)


def test_the_protocol_says_oracle(make_config):
    described = protocol_of(make_config(training={"choose": "oracle"})).describe()
    assert "ORACLE: weights chosen on the unseen domains" in described


def test_watching_is_logged_and_leaves_the_training_as_it_was(make_config, console, tmp_path):
    def adapted(name: str, **training) -> RunFolder:
        teacher = {"name": "ema", "ramp": False}  # hardly moves
        changes = {"regime": "self_training", "target": "world:night", "teacher": teacher, "head": {"name": "upernet"}}
        config = make_config(training=STEPS | {"snapshots": 0, "lr": 0.05} | training, method="lora", **changes)
        train_run(config, tmp_path / name, console=console)
        return RunFolder(tmp_path / name)

    plain, watched = adapted("plain"), adapted("watched", watch=1, judge_every=2)
    for part in ("adapter", "head", "regime"):
        _assert_same(*(checkpoints(run.checkpoints)[-1] / f"{part}.safetensors" for run in (plain, watched)))
    lines = {r["step"]: r["watched"] for r in _records(watched) if "watched" in r}
    assert list(lines) == [2, 4]
    assert [list(line) for line in lines.values()] == [["student", "teacher"]] * 2
    last = {who: scores["night"] for who, scores in lines[4].items()}
    assert last["student"] != last["teacher"]
    image = evaluate(
        watched.path, config=load_config(watched.config).model_copy(update={"evaluation": EvaluationOptions(images=1)}),
        out=tmp_path / "again", console=console,
    )  # fmt: skip
    assert last["teacher"] == pytest.approx(image.unseen_mean.score, abs=1e-12)
