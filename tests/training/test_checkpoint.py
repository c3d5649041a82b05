import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim import AdamW

from minorkey.errors import AdapterError, StorageError
from minorkey.training.checkpoint import (
    PARTS,
    Checkpoint,
    check_base,
    checkpoints,
    load_checkpoint,
    load_optimizer_state,
    log_intact,
    optimizer_state,
    save_checkpoint,
)
from minorkey.training.optim import param_groups


def _checkpoint(step: int = 3) -> Checkpoint:
    tensors = {
        part: {f"{part}.weight": torch.full((2, 3), float(index)), "count": torch.tensor(index)}
        for index, part in enumerate(PARTS)
    }
    return Checkpoint(step=step, seconds=1.5, base_sha256="ab" * 32, best_step=2, best_score=0.25, **tensors)


def test_survives_saving(tmp_path):
    saved = _checkpoint()
    save_checkpoint(tmp_path, saved)
    loaded = load_checkpoint(checkpoints(tmp_path)[-1])
    assert (loaded.step, loaded.seconds, loaded.base_sha256) == (3, 1.5, "ab" * 32)
    assert (loaded.best_step, loaded.best_score) == (2, 0.25)
    for part in PARTS:
        before, after = getattr(saved, part), getattr(loaded, part)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_empty_parts_survive_saving(tmp_path):
    save_checkpoint(tmp_path, Checkpoint(step=1, seconds=0.0, base_sha256=""))
    loaded = load_checkpoint(checkpoints(tmp_path)[-1])
    assert (loaded.adapter, loaded.ema, loaded.regime, loaded.best_score) == ({}, {}, {}, None)


def test_the_newest_two_are_kept(tmp_path):
    for step in (2, 4, 10):
        save_checkpoint(tmp_path, _checkpoint(step))
    assert [path.name for path in checkpoints(tmp_path)] == ["step-0000004", "step-0000010"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000004", "step-0000010"]


def test_what_was_not_finished_is_no_checkpoint(tmp_path):
    save_checkpoint(tmp_path, _checkpoint(2))
    shutil.copytree(tmp_path / "step-0000002", tmp_path / ".step-0000004.123.tmp")
    shutil.copytree(tmp_path / "step-0000002", tmp_path / "step-0000004")
    (tmp_path / "step-0000004" / "state.json").unlink()
    assert [path.name for path in checkpoints(tmp_path)] == ["step-0000002"]


def test_a_failed_save_leaves_the_earlier_ones(tmp_path):
    save_checkpoint(tmp_path, _checkpoint(2))
    broken = _checkpoint(4)
    broken.seconds = float("nan")  # the last file to be written refuses it
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path, broken)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000002"]
    assert load_checkpoint(checkpoints(tmp_path)[-1]).step == 2


@pytest.mark.parametrize("damaged", ["optimizer.safetensors", "state.json"])
def test_damaged_checkpoint_is_named(tmp_path, damaged):
    save_checkpoint(tmp_path, _checkpoint())
    (path,) = checkpoints(tmp_path)
    content = (path / damaged).read_bytes()
    (path / damaged).write_bytes(content[: len(content) // 2])
    with pytest.raises(StorageError, match="cannot read checkpoint .*step-0000003") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def test_checkpoint_of_other_weights_is_refused():
    check_base(_checkpoint(), "ab" * 32)
    with pytest.raises(AdapterError, match="base weights abababababab, but the backbone has cdcdcdcdcdcd"):
        check_base(_checkpoint(), "cd" * 32)


def _stepped(steps: int, state=None, fused=None) -> tuple[nn.Module, AdamW]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    optimizer = AdamW(param_groups(model, lr=0.1, weight_decay=0.1), fused=fused)
    if state is not None:
        load_optimizer_state(optimizer, state)
    for step in range(steps):
        optimizer.zero_grad()
        model(torch.full((2, 3), float(step + 1)).cumsum(1)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def test_optimizer_goes_on_as_if_never_stopped():
    reference_model, reference = _stepped(3)
    state = optimizer_state(reference)
    assert {name.rsplit("|")[1] for name in state} == {"step", "exp_avg", "exp_avg_sq"}
    _, restored = _stepped(0, state)
    again = optimizer_state(restored)
    assert state.keys() == again.keys()
    assert all(torch.equal(state[name], again[name]) and state[name].dtype == again[name].dtype for name in state)
    again["0.weight|exp_avg"].zero_()
    assert reference.state[reference_model[0].weight]["exp_avg"].any(), "the restored state is a copy"


def test_the_state_of_a_weight_lies_in_memory_as_the_weight_does():
    """A fused optimizer goes through both in the order of memory."""
    torch.manual_seed(0)
    model = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)

    def step(optimizer):
        optimizer.zero_grad()
        model(torch.ones(1, 4, 5, 5)).square().sum().backward()
        optimizer.step()
        return [value.clone() for value in model.state_dict().values()]

    first, second = (AdamW(param_groups(model, lr=0.1, weight_decay=0.1), fused=True) for _ in range(2))
    start = step(first)
    whole = torch.contiguous_format  # as files have them
    saved = {name: value.clone(memory_format=whole) for name, value in optimizer_state(first).items()}
    expected = step(first)
    for parameter, value in zip(model.state_dict().values(), start, strict=True):
        parameter.copy_(value)
    load_optimizer_state(second, saved)
    assert all(torch.equal(found, value) for found, value in zip(step(second), expected, strict=True))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda state: {**state, "2.weight|exp_avg": torch.zeros(3)}, "has '2.weight', which does not train"),
        (lambda state: {k: v for k, v in state.items() if k != "0.bias|exp_avg_sq"}, "lacks '0.bias|exp_avg_sq'"),
        (lambda state: {**state, "0.bias|exp_avg": torch.zeros(1)}, "tensor '0.bias|exp_avg' .* has shape"),
    ],
)
def test_a_state_that_does_not_fit_the_optimizer_is_refused(change, line):
    state = change(optimizer_state(_stepped(1)[1]))
    with pytest.raises(AdapterError, match=line.replace("|", r"\|")):
        _stepped(0, state)


def test_the_log_is_known_as_far_as_it_went(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text("one\ntwo\n")
    checkpoint = _checkpoint()
    assert log_intact(log, checkpoint), "of an earlier version"
    checkpoint.log_size, checkpoint.log_sha256 = 4, hashlib.sha256(b"one\n").hexdigest()
    assert log_intact(log, checkpoint)
    for content in (b"onE\ntwo\n", b"on", b""):
        log.write_bytes(content)
        assert not log_intact(log, checkpoint)
    log.unlink()
    assert not log_intact(log, checkpoint)


def test_tensors_that_are_no_numbers_are_refused_where_no_checksum_is(tmp_path):
    save_checkpoint(tmp_path, _checkpoint())
    (path,) = checkpoints(tmp_path)
    state = json.loads((path / "state.json").read_text())
    del state["#checksums"]
    (path / "state.json").write_text(json.dumps(state))
    assert load_checkpoint(path).step == 3
    save_file({"a": torch.tensor([1.0, torch.nan])}, path / "ema.safetensors")
    with pytest.raises(StorageError, match="tensor 'a' of 'ema.safetensors' has values that are not finite"):
        load_checkpoint(path)


def test_a_later_checkpoint_is_not_counted_among_those_that_are_kept(tmp_path):
    for step in (2, 4, 9, 6):  # 9 was passed over as damaged, and the run went on from 4
        save_checkpoint(tmp_path, _checkpoint(step))
    assert [path.name[-1] for path in checkpoints(tmp_path)] == ["4", "6", "9"]


def test_a_fused_optimizer_goes_on_from_a_plain_one_and_the_other_way_round():
    plain, fused = (optimizer_state(_stepped(3, fused=each)[1]) for each in (None, True))
    assert plain.keys() == fused.keys()
    assert [value.dtype for value in plain.values()] == [value.dtype for value in fused.values()]
    whole = _stepped(2, plain)[0].state_dict()
    for state, switched in ((plain, True), (fused, None), (fused, True)):
        again = _stepped(2, state, switched)[0].state_dict()
        assert all(torch.allclose(whole[name], again[name], atol=1e-6) for name in whole)
