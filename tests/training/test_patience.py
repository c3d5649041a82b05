"""A training that ends early is one that was cut there."""

import json

import pytest
import torch
from safetensors.torch import load_file

from minorkey.config import resolve
from minorkey.errors import ConfigError
from minorkey.evaluation.scores import TrainingCost
from minorkey.reporting.runs import read_run
from minorkey.reporting.seeds import by_method
from minorkey.runs.load import config_of
from minorkey.runs.train import train as train_run
from minorkey.system.run_folder import RunFolder
from minorkey.training.checkpoint import checkpoints, step_of

NOTHING_LEARNT = {"lr": 1e-30, "backbone_lr": 1e-30, "judge_every": 2, "horizon": 20, "log_every": 3}
"""Every judgement is as good as the first."""


@pytest.fixture
def train(make_config, console, tmp_path):
    def run(name: str, seed: int = 0, **training) -> RunFolder:
        head = {"name": "semfpn", "channels": 8, "dropout": 0.3}
        config = make_config(training=NOTHING_LEARNT | training, head=head, method="lora", seed=seed)
        train_run(config, tmp_path / name, console=console)
        return RunFolder(tmp_path / name)

    return run


def records(run: RunFolder, key: str) -> dict:
    lines = map(json.loads, run.log.read_text().splitlines())
    return {line["step"]: line[key] for line in lines if key in line}


def assert_same_end(run: RunFolder, other: RunFolder) -> None:
    for part in ("adapter", "head", "optimizer", "best"):
        left, right = (load_file(checkpoints(each.checkpoints)[-1] / f"{part}.safetensors") for each in (run, other))
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left)


def test_it_ends_as_a_run_that_is_cut_there(train, console):
    early = train("early", steps=20, patience=2)
    assert "ended after step 6 of 20: 2 judgements" in console.file.getvalue()
    assert list(records(early, "scores")) == [2, 4, 6]
    cut = train("cut", steps=6, choose="best_source")
    assert records(early, "loss") == records(cut, "loss")
    assert_same_end(early, cut)
    assert TrainingCost.read(early.cost).steps == 6
    assert early.finished


def test_it_is_resumed(train, console):
    """From the end, and from before the last judgement."""
    whole = train("whole", steps=20, patience=2, checkpoint_every=5)
    half = train("half", steps=20, patience=2, checkpoint_every=5)
    assert [step_of(path) for path in checkpoints(half.checkpoints)] == [5, 6]
    for path in (half.metrics, half.cost, half.head):
        path.unlink()
    train_run(config_of(half.path), half.path, resume=True, console=console)
    assert records(half, "scores") == records(whole, "scores")
    for path in (half.metrics, half.cost, half.head, *checkpoints(half.checkpoints)[-1].iterdir()):
        path.unlink()
    train_run(config_of(half.path), half.path, resume=True, console=console)
    assert_same_end(half, whole)
    assert records(half, "scores") == records(whole, "scores")


def test_what_begins_with_its_weights_knows_its_end(train, make_config, console, tmp_path):
    early = train("early", steps=20, patience=1)
    config = make_config(
        training=NOTHING_LEARNT | {"steps": 1}, head=config_of(early.path).head, method="lora", start_from=early.path
    )
    train_run(config, tmp_path / "on", console=console)
    assert RunFolder(tmp_path / "on").finished


def test_seeds_that_end_at_different_steps_are_one_method(train):
    runs = [train(f"seed{seed}", seed=seed, steps=20, patience=seed + 1) for seed in (0, 1)]
    assert [TrainingCost.read(run.cost).steps for run in runs] == [4, 6]
    read = [read_run(run.path) for run in runs]
    for run in read:  # as if they had had the same patience
        run.settings["training"]["patience"] = 1
    assert len(by_method(read)) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"training": {"choose": "oracle"}}, r"but choose is oracle; set training\.choose=best_source"),
        ({"training": {"choose": "last"}}, "choose is last"),
        ({"target": "world:night", "regime": "self_training"}, "leave it out with regime self_training"),
        ({"target": "world:night", "regime": "transda"}, "leave it out with regime transda"),
    ],
)
def test_it_is_the_source_that_it_asks(given, said):
    given["training"] = {"patience": 3, **given.get("training", {})}
    with pytest.raises(ConfigError, match=said):
        resolve("demo", given)


def test_it_chooses_by_what_it_stops_by():
    assert resolve("demo", {"training": {"patience": 3}}).deployed == "best_source"
