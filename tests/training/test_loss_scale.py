"""Steps whose gradients overflow are taken again with a smaller scale; nothing else moves meanwhile."""

import json
import shutil

import pytest
import torch
from adapting import adapting, assert_same_files, read_log
from torch import nn
from torch.amp import GradScaler

from minorkey.errors import TrainingError
from minorkey.runs import fit as fitting
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.balance import ConfidenceBalance
from minorkey.training.checkpoint import checkpoints, load_checkpoint
from minorkey.training.device import accelerator_for
from minorkey.training.step import put_back, statistics

LARGE = 2.0**127
"""A scale at which gradients overflow float32 as well, which holds nothing above 2^128."""

SELF_TRAINING = adapting(
    "self_training",
    "ema",
    training={"steps": 4, "warmup": 2, "weight_ema_from": 1, "clip_norm": 1.0},
    head={"name": "semfpn", "channels": 8},
    self_training={"threshold": 0.06, "masking": None, "balance": "confidence"},
)


@pytest.fixture
def scaled(monkeypatch):
    """Train with gradients scaled by torch's scaler, as in fp16, though in float32: `scaled(init_scale=2.0**10)`."""

    def use(**settings) -> None:
        def accelerator(options):
            made = accelerator_for(options)
            made.scaler = GradScaler("cpu", **settings)
            return made

        monkeypatch.setattr(fitting, "accelerator_for", accelerator)

    return use


def _without(record: dict) -> dict:
    return {key: value for key, value in record.items() if key not in ("loss_scale", "retried")}


@pytest.mark.parametrize("changes", [{}, SELF_TRAINING], ids=["supervised", "self_training"])
def test_overflow_costs_a_retry_and_moves_nothing(make_config, console, tmp_path, scaled, changes):
    config = make_config(**changes)
    plain, retried = RunFolder(tmp_path / "plain"), RunFolder(tmp_path / "retried")
    train(config, plain.path, console=console)
    scaled(init_scale=LARGE, growth_interval=1)
    train(config, retried.path, console=console)
    log = read_log(retried)
    assert log[0]["retried"] > 0
    assert sum(record.get("retried", 0) for record in log[1:]) > 0, "the scale grows into an overflow again"
    # Powers of two scale float32 without rounding, so nothing may differ: schedule, optimizer, average, teacher.
    assert [_without(record) for record in log] == read_log(plain)
    last = [checkpoints(folder.checkpoints)[-1] for folder in (plain, retried)]
    for part in ("adapter", "head", "optimizer", "ema", "regime"):
        assert_same_files(*(path / f"{part}.safetensors" for path in last))


def test_a_resumed_run_has_the_scale_of_one_that_went_through(make_config, console, tmp_path, scaled):
    scaled(init_scale=LARGE, growth_interval=2)
    config = make_config()
    whole, resumed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "resumed")
    train(config, whole.path, console=console)
    first, last = checkpoints(whole.checkpoints)
    assert load_checkpoint(first).loss_scale["scale"] < LARGE
    shutil.copytree(whole.path, resumed.path)
    shutil.rmtree(resumed.checkpoints / last.name)
    for left in (resumed.cost, resumed.head, resumed.metrics):
        left.unlink()
    train(config, resumed.path, console=console, resume=True)
    again = checkpoints(resumed.checkpoints)[-1]
    assert load_checkpoint(again).loss_scale == load_checkpoint(last).loss_scale
    assert read_log(resumed) == read_log(whole)
    for part in ("adapter", "head", "optimizer"):
        assert_same_files(last / f"{part}.safetensors", again / f"{part}.safetensors")


def test_what_overflows_at_every_scale_ends_the_run(make_config, console, tmp_path, scaled):
    scaled(init_scale=2.0**-9, backoff_factor=0.25)
    config = make_config(training={"lr": 1e18, "steps": 3, "log_every": 3})  # the second step's loss is not finite
    with pytest.raises(TrainingError, match="gradients overflow float16 at every scale at step 2.*training.precision"):
        train(config, tmp_path / "run", console=console)


def test_a_run_without_a_scale_notes_none(finished_run):
    assert not [line for line in finished_run.log.read_text().splitlines() if "loss_scale" in json.loads(line)]


def test_statistics_that_a_step_moved_which_was_not_taken_are_put_back():
    balance = ConfidenceBalance(2)
    network = nn.Sequential(nn.BatchNorm2d(3))
    before = statistics(network, balance)
    network(torch.rand(2, 3, 4, 4))
    balance.factors(torch.full((1, 2, 2, 2), 0.5), torch.ones(1, 2, 2, dtype=torch.bool), torch.zeros(1, 2, 2))
    moved = statistics(network, balance)
    assert [name for a, b in zip(before, moved, strict=True) for name in a if not a[name].equal(b[name])] == [
        "0.running_mean",
        "0.running_var",
        "0.num_batches_tracked",
        "confidence",
    ]
    put_back(before, network, balance)
    after = statistics(network, balance)
    assert all(a[name].equal(b[name]) for a, b in zip(before, after, strict=True) for name in a)
