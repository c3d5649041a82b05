"""training.batch_size=auto: what fits, measured on a copy, and a step as large as asked."""

import psutil
import pytest
import torch
from adapting import assert_same_training

from minorkey.config import load_config, resolve
from minorkey.errors import ConfigError, MemoryLimitError
from minorkey.runs import fit_batch
from minorkey.runs.settled import settled
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder

LARGER = {"transform": {"crop": [64, 64]}, "world": {"size": [128, 64]}}
"""Crops whose coarsest features are more than one place, which a group norm needs of a single image."""

QUICK = {"source": False, "pictures": 0, "images": 1}


@pytest.fixture
def room(monkeypatch):
    """Say how much memory there is."""
    return lambda amount: monkeypatch.setattr(fit_batch, "_room", lambda device: amount)


def measured(config, folder, console, size):
    return fit_batch._needed(config, RunFolder(folder), console, size)


def test_auto_keeps_the_number_of_the_preset():
    training = resolve("demo", {"training": {"batch_size": "auto"}}).training
    assert training.fit_batch
    assert training.batch_size == resolve("demo").training.batch_size


def test_memory_grows_with_the_batch(make_config, console, tmp_path):
    config = make_config(training={"batch_size": 8})
    two, four, eight = (measured(config, tmp_path, console, size) for size in (2, 4, 8))
    assert two < four < eight
    assert eight - four == pytest.approx(2 * (four - two), rel=0.1)


@pytest.mark.parametrize("regime", [{}, {"regime": "self_training", "target": "world:night"}])
def test_a_batch_is_halved_until_it_fits_and_the_step_stays(make_config, console, tmp_path, room, regime):
    config = make_config(training={"batch_size": 8, "fit_batch": True}, **regime)
    needs = {size: measured(config, tmp_path, console, size) for size in (8, 4)}
    for limit, batch in ((needs[8] * 1.05, 8), (needs[4] * 1.05, 4), (needs[8] * 0.95, 4)):
        room(limit)
        found = settled(config, RunFolder(tmp_path / "none"), console).training
        assert (found.batch_size, found.accumulate, found.fit_batch) == (batch, 8 // batch, False)
    assert "batch_size auto: 4 at a time, 2 times a step" in console.file.getvalue()


def test_the_number_is_saved_and_the_measuring_leaves_no_trace(make_config, console, tmp_path, room):
    room(1e15)
    auto = make_config(training={"batch_size": "auto", "steps": 2}, evaluation=QUICK)
    train(auto, tmp_path / "auto", console=console)
    saved = load_config(tmp_path / "auto" / "config.yaml").training
    assert (saved.batch_size, saved.accumulate, saved.fit_batch) == (2, 1, False)
    train(make_config(training={"steps": 2}, evaluation=QUICK), tmp_path / "given", console=console)
    assert_same_training(RunFolder(tmp_path / "auto"), RunFolder(tmp_path / "given"))


def test_a_run_that_has_begun_keeps_its_batch(make_config, console, tmp_path, room):
    room(1e15)
    config = make_config(training={"batch_size": "auto", "steps": 2}, evaluation=QUICK)
    train(config, tmp_path / "run", console=console)
    room(0.0)
    train(config, tmp_path / "run", resume=True, console=console)


def test_where_nothing_fits_it_is_said(make_config, console, tmp_path, room):
    room(1.0)
    with pytest.raises(MemoryLimitError, match=r"a batch of 1 does not fit .*gradient_checkpointing=true"):
        train(make_config(training={"batch_size": "auto"}, **LARGER), tmp_path / "run", console=console)
    assert not (tmp_path / "run").exists()


def test_a_head_that_normalises_over_the_batch_keeps_its_smallest(make_config, console, tmp_path, room):
    room(1.0)
    with pytest.raises(MemoryLimitError, match="a batch of 2 does not fit"):
        train(make_config(head="upernet", training={"batch_size": "auto"}), tmp_path / "run", console=console)


def test_rounds_are_not_measured(make_config, console, tmp_path):
    config = make_config(
        training={"batch_size": "auto"}, regime="transda", target="world:night", method="lora", teacher="self"
    )
    with pytest.raises(ConfigError, match="measures one of the rounds; give a number"):
        train(config, tmp_path / "run", console=console)


def test_the_bound_is_a_share_of_what_is_free():
    free = psutil.virtual_memory().available
    assert fit_batch._room(torch.device("cpu")) == pytest.approx(fit_batch.RAM_SHARE * free, rel=0.2)
