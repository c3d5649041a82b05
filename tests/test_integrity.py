"""Damage to a run's files is an error in one line or, in a checkpoint, a step back to the one before."""

import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file, save_file

from minorkey.config import load_config, save_config
from minorkey.errors import AdapterError, ConfigError, DataError, MinorkeyError, StorageError
from minorkey.evaluation.evidence_files import read_evidence
from minorkey.evaluation.scores import ScoreTable
from minorkey.reporting.runs import read_run
from minorkey.runs.load import config_of, load
from minorkey.runs.train import train
from minorkey.system.lock import LOCK
from minorkey.system.run_folder import RunFolder
from minorkey.system.sealed import SEAL
from minorkey.training.checkpoint import checkpoints


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    file.write_bytes(content)


def _cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])


def _zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def _delete(file: Path) -> None:
    file.unlink()


DAMAGE = [_flip, _cut, _zero, _delete]


@pytest.fixture
def run(finished_run, tmp_path) -> RunFolder:
    """A finished run that may be damaged."""
    return RunFolder(Path(shutil.copytree(finished_run.path, tmp_path / "run")))


@pytest.fixture
def stopped(run) -> RunFolder:
    """A run that was killed before it ended."""
    for path in (run.metrics, run.cost, run.head, run.adapter):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return run


@pytest.fixture(scope="module")
def other_run(make_config, tmp_path_factory) -> RunFolder:
    """A run that differs in its seed alone."""
    folder = RunFolder(tmp_path_factory.mktemp("other") / "run")
    train(make_config(seed=1, training={"steps": 2}), folder.path)
    return folder


def _unsealed(file: Path, **changes) -> None:
    """A sealed file as an earlier version wrote it, with changes."""
    values = json.loads(file.read_text()) | changes
    del values[SEAL]
    file.write_text(json.dumps(values))


WEIGHTS = [
    "config.yaml", "training.json", "head.safetensors", "adapter/adapter_model.safetensors",
    "adapter/adapter_config.json", "adapter/minorkey.json",
]  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_damaged_run_does_not_predict(run, other_run, name):
    whole, theirs = ((each.path / name).read_bytes() for each in (run, other_run))
    swap = [] if theirs == whole else [lambda file: file.write_bytes(theirs)]
    for damage in (*DAMAGE, *swap):
        damage(run.path / name)
        with pytest.raises(MinorkeyError) as error:
            load(run.path)
        assert "\n" not in str(error.value)
        assert str(run.path) in str(error.value)
        (run.path / name).write_bytes(whole)
    load(run.path)


def test_a_run_without_its_adapter_is_not_the_bare_backbone(run):
    shutil.rmtree(run.adapter)
    with pytest.raises(AdapterError, match="lacks its adapter/, without which method soma is the pretrained backbone"):
        load(run.path)


def test_a_full_run_without_its_backbone_is_not_the_bare_one(make_config, console, tmp_path):
    run = RunFolder(tmp_path / "run")
    train(make_config(method="full", training={"steps": 1}), run.path, console=console)
    trained = load_file(run.backbone)
    loaded = load(run.path).model.state_dict()
    assert all(any(torch.equal(value, other) for other in loaded.values()) for value in trained.values())
    _unsealed(run.cost)
    save_file({name: value for name, value in trained.items() if "layer.1.norm1.bias" not in name}, run.backbone)
    with pytest.raises(AdapterError, match="lacks tensor 'trained.*layer.1.norm1.bias'"):
        load(run.path)
    run.backbone.unlink()
    with pytest.raises(StorageError, match="cannot read .*backbone.safetensors"):
        load(run.path)


HEADS = {
    "lacks tensor": lambda tensors, name: {key: value for key, value in tensors.items() if key != name},
    "has an unexpected tensor 'more'": lambda tensors, name: {**tensors, "more": torch.zeros(1)},
    "has shape": lambda tensors, name: {**tensors, name: tensors[name][:1].clone()},
    "has values that are not finite": lambda tensors, name: {**tensors, name: tensors[name] * torch.inf},
}


@pytest.mark.parametrize("line", HEADS)
def test_a_head_that_does_not_fit_is_not_filled_up(run, line):
    _unsealed(run.cost)
    tensors = load_file(run.head)
    name = max(tensors, key=lambda key: tensors[key].numel())
    metadata = {"base_weights_sha256": json.loads((run.adapter / "minorkey.json").read_text())["base_weights_sha256"]}
    save_file(HEADS[line](tensors, name), run.head, metadata)
    with pytest.raises(AdapterError, match=line):
        load(run.path)


def test_runs_of_earlier_versions_still_load(run, console):
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    expected = load(run.path).predict(image).labels
    for file in (run.cost, run.metrics, run.adapter / "minorkey.json", *run.checkpoints.glob("*/state.json")):
        _unsealed(file)
    run.config.write_text("".join(run.config.read_text().splitlines(keepends=True)[1:]))
    cost = json.loads(run.cost.read_text())
    del cost["config_sha256"]
    run.cost.write_text(json.dumps(cost))
    for state in run.checkpoints.glob("*/state.json"):
        values = json.loads(state.read_text())
        del values["config"]
        state.write_text(json.dumps(values))
    assert np.array_equal(load(run.path).predict(image).labels, expected)
    scores = train(config_of(run.path), run.path, resume=True, console=console)
    run.metrics.unlink()
    run.cost.unlink()
    assert train(config_of(run.path), run.path, resume=True, console=console).domains == scores.domains


@pytest.mark.parametrize("name", ["adapter.safetensors", "optimizer.safetensors", "state.json"])
def test_the_checkpoint_before_a_damaged_one_is_taken(stopped, finished_run, console, name):
    _flip(checkpoints(stopped.checkpoints)[-1] / name)
    train(config_of(stopped.path), stopped.path, resume=True, console=console)
    said = console.file.getvalue()
    assert "step-0000004" in said
    assert "the one before is taken" in said
    for file in ("head.safetensors", "adapter/adapter_model.safetensors"):
        ours, theirs = load_file(stopped.path / file), load_file(finished_run.path / file)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_log_that_has_lost_lines_is_said(stopped, console):
    lines = stopped.log.read_text().splitlines(keepends=True)
    stopped.log.write_text("".join(lines[1:]))
    train(config_of(stopped.path), stopped.path, resume=True, console=console)
    assert (
        "log.jsonl' has changed since step 4: its curves are not to be trusted; weights are" in console.file.getvalue()
    )


def test_damaged_checkpoints_alone_are_an_error(stopped, command):
    for damage, path in zip((_flip, _cut), checkpoints(stopped.checkpoints), strict=True):
        damage(path / "head.safetensors")
    code, error = command("train", "--resume", stopped.path)
    assert code == 2
    assert "no checkpoint in" in error.splitlines()[-1]
    assert "can be read, remove it to start anew" in error.splitlines()[-1]


def test_a_checkpoint_of_another_run_is_refused(stopped, other_run, console):
    theirs = checkpoints(other_run.checkpoints)[-1]
    shutil.rmtree(stopped.checkpoints)
    shutil.copytree(theirs, stopped.checkpoints / theirs.name)
    with pytest.raises(ConfigError, match="cut, edited or replaced in seed, training.steps; change it back"):
        train(config_of(stopped.path), stopped.path, resume=True, console=console)


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("adapter", "the checkpoint has an unexpected tensor 'more.x'"),
        ("head", "the checkpoint has an unexpected tensor 'more.x'"),
        ("optimizer", "the optimizer's state has ''"),
        ("ema", "ema of the checkpoint has an unexpected tensor|ema of the checkpoint lacks tensor"),
        ("best", "best of the checkpoint has an unexpected tensor|best of the checkpoint lacks tensor"),
        ("regime", "the regime's state in the checkpoint does not fit"),
    ],
)
def test_no_tensor_too_many_is_let_into_a_training(stopped, console, part, line):
    last = checkpoints(stopped.checkpoints)[-1]
    _unsealed(last / "state.json")
    file = last / f"{part}.safetensors"
    save_file({**load_file(file), "more.x": torch.zeros(2)}, file)
    with pytest.raises(AdapterError, match=line) as error:
        train(config_of(stopped.path), stopped.path, resume=True, console=console)
    assert "\n" not in str(error.value)


def test_only_the_whole_last_checkpoint_of_a_run_is_begun_with(run, other_run, make_config, console, tmp_path):
    config = make_config(start_from=str(run.path), training={"steps": 1})
    _flip(checkpoints(run.checkpoints)[-1] / "head.safetensors")
    with pytest.raises(StorageError, match="cannot read checkpoint .*head.safetensors"):
        train(config, tmp_path / "new", console=console)
    shutil.rmtree(checkpoints(run.checkpoints)[-1])
    with pytest.raises(DataError, match="is not of the last step of that run, 4, which it deploys"):
        train(config, tmp_path / "new", console=console)
    shutil.rmtree(run.checkpoints)
    shutil.copytree(other_run.checkpoints, run.checkpoints)
    with pytest.raises(ConfigError, match="cut, edited or replaced in seed, training.steps"):
        train(config, tmp_path / "new", console=console)


def _edit(key: str, value: object) -> Callable[[str], str]:
    def edit(text: str) -> str:
        values = yaml.safe_load(text)
        section, _, name = key.rpartition(".")
        (values[section] if section else values)[name] = value
        return text.splitlines(keepends=True)[0] + yaml.safe_dump(values, sort_keys=False)

    return edit


CONFIGS = {
    "edited in a section": (_edit("training.steps", 40_000), "in training.steps; change it back"),
    "edited at the top": (_edit("seed", 3), "in seed; change it back"),
    "edited, and its first line removed": (
        lambda text: "".join(_edit("seed", 3)(text).splitlines(keepends=True)[1:]), "in seed; change it back"
    ),
    "cut between keys": (lambda text: text[: text.index("\ntraining:") + 1], "replaced in evaluation.*; change it"),
    "cut in a section": (lambda text: text[: text.index("  lr:")], "evaluation"),
    "cut after its first line": (lambda text: text.splitlines(keepends=True)[0], "mapping"),
    "cut in its last line": (lambda text: text.rstrip()[:-1], "in seed"),
    "empty": (lambda text: "", "mapping"),
}  # fmt: skip


@pytest.mark.parametrize("state", ["stopped", "run"])
@pytest.mark.parametrize("change", CONFIGS)
def test_a_cut_or_edited_configuration_is_refused(state, change, request):
    folder: RunFolder = request.getfixturevalue(state)
    edit, line = CONFIGS[change]
    folder.config.write_text(edit(folder.config.read_text()))
    with pytest.raises(ConfigError, match=line) as error:
        train(config_of(folder.path), folder.path, resume=True)
    assert "\n" not in str(error.value)


def test_a_cut_configuration_of_an_earlier_version_is_refused(stopped):
    text = "".join(stopped.config.read_text().splitlines(keepends=True)[1:])
    stopped.config.write_text(text[: text.index("\ntraining:") + 1])
    with pytest.raises(ConfigError, match="is cut: 'seed', its last key, is missing"):
        config_of(stopped.path)


def test_places_may_change(run):
    run.config.write_text(_edit("training.workers", 3)(_edit("data_root", str(run.path))(run.config.read_text())))
    assert load_config(run.config).training.workers == 3
    load(run.path)


@pytest.mark.parametrize("damage", [*DAMAGE[:3], lambda file: _unsealed(file, steps=9)])
def test_a_changed_record_does_not_count_as_finished(run, damage):
    damage(run.cost)
    with pytest.raises(MinorkeyError, match="training.json"):
        train(config_of(run.path), run.path, resume=True)


def test_scores_of_another_run_do_not_count_as_finished(run, other_run):
    shutil.copy(other_run.metrics, run.metrics)
    with pytest.raises(
        DataError, match="training.json' is damaged or of another run.*or run `minorkey evaluate` again"
    ):
        train(config_of(run.path), run.path, resume=True)


@pytest.mark.parametrize("damage", DAMAGE[:3])
def test_damaged_scores_and_evidence_are_an_error(run, damage):
    protocol = ScoreTable.read(run.metrics).protocol
    damage(run.path / "confusions.safetensors")
    with pytest.raises(DataError, match="confusions.safetensors.*run `minorkey evaluate` again"):
        read_evidence(run, protocol, 19)
    damage(run.metrics)
    with pytest.raises(DataError, match="metrics.json.*run `minorkey evaluate` again"):
        ScoreTable.read(run.metrics)


def test_a_page_shows_no_damaged_picture_curve_or_configuration(run):
    for file in (next(run.samples.rglob("prediction.png")), run.places, run.log, run.config):
        whole = file.read_bytes()
        for damage in DAMAGE[:3]:
            damage(file)
            with pytest.raises(MinorkeyError, match=f"(?s){file.name}"):
                read_run(run.path)
            file.write_bytes(whole)
    shutil.rmtree(run.samples)
    assert read_run(run.path).samples == {}


def test_what_a_killed_process_leaves_is_no_checkpoint(stopped, console):
    first, second = checkpoints(stopped.checkpoints)
    shutil.copytree(second, stopped.checkpoints / "step-foo")
    shutil.copytree(second, stopped.checkpoints / "step-12")
    shutil.copytree(second, stopped.checkpoints / ".step-0000009.partial")
    shutil.copytree(second, stopped.checkpoints / ".step-0000001.gone")
    (stopped.checkpoints / "step-0000007").write_text("a file")
    second.rename(stopped.checkpoints / f".{second.name}.old")  # killed between the two moves
    assert checkpoints(stopped.checkpoints) == [first, second]
    train(config_of(stopped.path), stopped.path, resume=True, console=console)


def test_an_earlier_checkpoint_under_a_later_name_is_damaged(stopped, console):
    first, second = checkpoints(stopped.checkpoints)
    shutil.rmtree(second)
    first.rename(second)
    with pytest.raises(StorageError, match="'state.json' is of step 2"):
        train(config_of(stopped.path), stopped.path, resume=True, console=console)


def test_a_run_that_another_process_writes_is_left_alone(make_config, command, start, tmp_path):
    save_config(make_config(training={"steps": 30}), tmp_path / "run.yaml")
    arguments = ["train", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run")]
    first = start(*arguments)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "log.jsonl").exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    for second in (arguments, ["train", "--resume", tmp_path / "run"]):
        code, error = command(*second)
        assert code == 2
        assert f"run' is being written to by process {first.pid} on " in error.splitlines()[-1]
    _, error = first.communicate(timeout=240)
    assert first.returncode == 0, error
    assert RunFolder(tmp_path / "run").finished
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_folder_that_vanishes_ends_the_training(make_config, tmp_path):
    class Removing(io.StringIO):
        """A terminal whose user removes the run folder at the first line of progress, and makes another."""

        def write(self, text):
            if "loss" in text and (tmp_path / "run" / "log.jsonl").exists():
                shutil.rmtree(tmp_path / "run")
                (tmp_path / "run").mkdir()
            return super().write(text)

    with pytest.raises(StorageError, match="was removed, moved or replaced while it was written to"):
        train(make_config(training={"steps": 6}), tmp_path / "run", console=Console(file=Removing(), width=200))
    assert not list((tmp_path / "run").iterdir())
