"""A run that was killed, for real, ends with the same bits as one that was not."""

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from warm_commands import Forked

from minorkey.config import save_config
from minorkey.errors import ConfigError
from minorkey.labels.tables import read_yaml
from minorkey.runs.load import config_of
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.system.saved_config import config_text
from minorkey.system.sealed import read_sealed, write_sealed
from minorkey.training.checkpoint import checkpoints

STEPS = 30
TRAINING = {"steps": STEPS, "checkpoint_every": 4, "warmup": 2}
MEASURED = ("seconds", "images_per_second", "peak_memory_mb")
"""What the clock and the machine say: different in every run."""

Start = Callable[..., Forked]


def _wait_for(process: Forked, what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the run did not get there"
        time.sleep(0.005)


def _logged(folder: RunFolder, lines: int) -> Callable[[], bool]:
    return lambda: folder.log.is_file() and len(folder.log.read_bytes().splitlines()) >= lines


def _kill(process: Forked) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def _kill_in_training(process: Forked, folder: RunFolder, lines: int) -> None:
    """At any moment after that many log lines: between two steps, in one, or while saving."""
    _wait_for(process, _logged(folder, lines))
    time.sleep(random.uniform(0, 0.15))
    _kill(process)
    assert not folder.cost.is_file()
    assert checkpoints(folder.checkpoints)


def _assert_same_tensors(left: Path, right: Path) -> None:
    a, b = load_file(left), load_file(right)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def _scores(folder: RunFolder) -> dict:
    scores = read_sealed(folder.metrics).values
    for key in MEASURED:
        del scores["training"][key]
    return scores


def _losses(folder: RunFolder) -> list[tuple[int, float, float]]:
    lines = [json.loads(line) for line in folder.log.read_text().splitlines()]
    return [(line["step"], line["loss"], line["lr"]) for line in lines]


def _assert_same_run(resumed: RunFolder, reference: RunFolder, weights: list[str]) -> None:
    for name in [*weights, "head.safetensors", "confusions.safetensors"]:
        _assert_same_tensors(resumed.path / name, reference.path / name)
    last = [checkpoints(folder.checkpoints)[-1] for folder in (resumed, reference)]
    for part in ("adapter", "head", "optimizer", "ema"):
        _assert_same_tensors(*(path / f"{part}.safetensors" for path in last))
    assert _scores(resumed) == _scores(reference)
    assert _losses(resumed) == _losses(reference)
    assert [step for step, *_ in _losses(resumed)] == list(range(1, STEPS + 1))


@pytest.fixture
def prepared(make_config, console, tmp_path):
    """The configuration file, the folder to run in, and an uninterrupted run of the same."""

    def prepare(**changes) -> tuple[Path, RunFolder, RunFolder]:
        config = make_config(**changes)
        save_config(config, tmp_path / "run.yaml")
        reference = RunFolder(tmp_path / "uninterrupted" / "run")
        train(config, reference.path, console=console)
        return tmp_path / "run.yaml", RunFolder(tmp_path / "killed" / "run"), reference

    return prepare


ADAPTER = ["adapter/adapter_model.safetensors"]


def test_soma_killed_twice(prepared, start, console):
    file, folder, reference = prepared(training=TRAINING)
    _kill_in_training(start("train", file, "--out", folder.path), folder, lines=5)
    _kill_in_training(start("train", "--resume", folder.path), folder, lines=16)
    train(config_of(folder.path), folder.path, resume=True, console=console)
    _assert_same_run(folder, reference, ADAPTER)


def test_full_killed(prepared, start, console):
    file, folder, reference = prepared(method="full", head={"dropout": 0.2}, training=TRAINING)
    _kill_in_training(start("train", file, "--out", folder.path), folder, lines=8)
    train(config_of(folder.path), folder.path, resume=True, console=console)
    _assert_same_run(folder, reference, ["backbone.safetensors"])


def test_weight_average_killed_in_training_and_in_judging(prepared, start, console):
    training = TRAINING | {"weight_ema_from": 3, "average_momentum": 0.8}
    file, folder, reference = prepared(method="soma", head={"name": "linear"}, training=training)
    _kill_in_training(start("train", file, "--out", folder.path), folder, lines=8)
    judging = start("train", "--resume", folder.path)
    _wait_for(judging, folder.cost.is_file)
    _kill(judging)
    assert not folder.metrics.is_file()
    train(config_of(folder.path), folder.path, resume=True, console=console)
    _assert_same_run(folder, reference, ADAPTER)


def test_interrupt_saves_and_says_how_to_go_on(make_config, start, console, tmp_path):
    folder = RunFolder(tmp_path / "run")
    save_config(make_config(training={"steps": 2000, "checkpoint_every": 2000}), tmp_path / "run.yaml")
    process = start("train", tmp_path / "run.yaml", "--out", folder.path)
    _wait_for(process, _logged(folder, 3))
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in error
    assert f"minorkey train --resume {folder.path}" in error.splitlines()[-1]
    (saved,) = checkpoints(folder.checkpoints)
    assert json.loads((saved / "state.json").read_text())["step"] == _losses(folder)[-1][0]


@pytest.fixture
def stopped_run(finished_run, tmp_path) -> RunFolder:
    """A run that stopped before its end: as `finished_run`, without what the end writes."""
    folder = RunFolder(Path(shutil.copytree(finished_run.path, tmp_path / "stopped")))
    for path in (folder.metrics, folder.cost, folder.head):
        path.unlink()
    return folder


def test_second_run_in_a_folder_is_refused(make_config, stopped_run):
    before = sorted(path for path in stopped_run.path.rglob("*"))
    with pytest.raises(ConfigError, match="holds a run already; go on with `minorkey train --resume .*another --out"):
        train(make_config(), stopped_run.path)
    assert sorted(path for path in stopped_run.path.rglob("*")) == before


def test_finished_run_is_only_read(make_config, finished_run):
    before = finished_run.metrics.stat().st_mtime_ns
    scores = train(make_config(), finished_run.path, resume=True)
    assert scores.to_json() == read_sealed(finished_run.metrics).values
    assert finished_run.metrics.stat().st_mtime_ns == before


@pytest.mark.parametrize("state", ["stopped_run", "finished_run"])
def test_resuming_with_another_configuration_is_refused(make_config, state, request):
    folder = request.getfixturevalue(state)
    with pytest.raises(ConfigError, match="another configuration .*choose another --out"):
        train(make_config(seed=1), folder.path, resume=True)


def test_a_run_of_a_version_that_knew_fewer_keys_goes_on(make_config, stopped_run, finished_run, console):
    state = max(stopped_run.checkpoints.glob("*/state.json"))
    sealed = read_sealed(state)
    values = read_yaml(stopped_run.config)
    for config in (sealed.values["config"], values):
        del config["training"]["patience"], config["pixels"]
    write_sealed(state, sealed.values, sealed.files or ())
    stopped_run.config.write_text(config_text(values))
    train(make_config(), stopped_run.path, resume=True, console=console)
    _assert_same_tensors(stopped_run.head, finished_run.head)


def test_a_checkpoint_with_another_value_is_not_of_the_run(make_config, stopped_run, console):
    state = max(stopped_run.checkpoints.glob("*/state.json"))
    sealed = read_sealed(state)
    sealed.values["config"]["training"]["patience"] = 3
    write_sealed(state, sealed.values, sealed.files or ())
    with pytest.raises(ConfigError, match=r"edited or replaced in training.patience"):
        train(make_config(), stopped_run.path, resume=True, console=console)


def test_command_without_a_run_to_resume(command, tmp_path):
    code, error = command("train", "--resume", tmp_path)
    assert code == 2
    assert "no run in" in error
