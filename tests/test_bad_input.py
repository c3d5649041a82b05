"""What a user can get wrong: one line that says what to do, exit code 2, no traceback, nothing lost."""

import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from minorkey.config import save_config
from minorkey.errors import AdapterError, StorageError, TrainingError
from minorkey.runs.load import load
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.training.checkpoint import checkpoints, load_checkpoint


@pytest.fixture
def refused(command, make_config, tmp_path) -> Callable[..., str]:
    """Train the tiny run with overrides on the command line; the one line that it is refused with."""
    file = tmp_path / "run.yaml"
    save_config(make_config(), file)

    def run(*overrides: str, out: Path = tmp_path / "run") -> str:
        code, error = command("train", file, *overrides, "--out", out)
        assert code == 2, error
        assert "Traceback" not in error
        line = error.strip().splitlines()[-1]
        assert line.startswith("minorkey: ")
        return line

    return run


@pytest.fixture
def streets(street_folder) -> Path:
    return street_folder()


@pytest.fixture
def bad_streets(refused, streets) -> Callable[..., str]:
    """The line with which training on the damaged folder is refused."""
    return lambda *more: refused(f"source={streets}", "label_space=street7", "unseen=[]", *more)


def _save(file: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(file)


def _truncate(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def test_missing_folder(refused, tmp_path):
    line = refused(f"source={tmp_path / 'nowhere'}")
    assert f"folder {tmp_path / 'nowhere'} is missing; expected images/, labels/ and dataset.yaml" in line


def test_missing_folder_of_an_unseen_domain_is_found_before_training(refused, tmp_path):
    line = refused(f"unseen={tmp_path / 'nowhere'}")
    assert "is missing" in line
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_mended_command_runs_in_the_same_folder(refused, command, tmp_path):
    refused("source=world:cleer")
    code, error = command("train", tmp_path / "run.yaml", "--out", tmp_path / "run")
    assert code == 0, error


def test_image_without_label(bad_streets, streets):
    (streets / "labels" / "train" / "2.png").unlink()
    line = bad_streets()
    assert "image '2' of split 'train' without a label; expected labels/train/2.png" in line


def test_label_of_another_size(bad_streets, streets):
    for index in range(4):
        _save(streets / "labels" / "train" / f"{index}.png", np.zeros((30, 48), np.uint8))
    line = bad_streets()
    assert "is 48x30 but its image" in line
    assert "is 48x32 (width x height); they must be equal" in line


def test_unknown_id(bad_streets, streets):
    labels = np.zeros((32, 48), np.uint8)
    labels[0, :5] = 42
    for index in range(4):
        _save(streets / "labels" / "train" / f"{index}.png", labels)
    line = bad_streets()
    assert f"{streets / 'labels' / 'train'}" in line
    assert "no map names id 42 (5 pixels); add it to the `ids`" in line


@pytest.mark.parametrize("workers", [0, 1])
def test_truncated_image_met_in_training(bad_streets, streets, workers):
    for index in range(4):
        _truncate(streets / "images" / "train" / f"{index}.png")
    line = bad_streets(f"training.workers={workers}")
    assert "broken image (" in line
    assert "replace or remove the file" in line


def test_data_set_without_map(bad_streets, streets):
    (streets / "dataset.yaml").unlink()
    assert "label space 'street7' has no place for 'background', 'foreground'" in bad_streets()
    shutil.rmtree(streets / "labels")
    assert "dataset.yaml is missing; write one with the class of every id" in bad_streets()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("method=somma", "unknown method 'somma'; did you mean 'soma'?"),
        ("head=semfnp", "head.name is 'semfnp'; did you mean 'semfpn'?"),
        ("sed=1", "unknown key 'sed'; did you mean 'seed'?"),
        ("training.step=1", "unknown key 'training.step'; did you mean 'training.steps'?"),
        ("backbone.out_block=[1]", "did you mean 'backbone.out_blocks'?"),
        ("source=world:nigth", "unknown world domain 'nigth'; did you mean 'night'?"),
        ("label_space=cityscape19", "did you mean 'cityscapes19'?"),
        ("training.steps=-1", "training.steps is -1: Input should be greater than or equal to 0"),
        ("training.steps=0", "training.steps is 0, which judges what a run begins with; name that as head_from"),
        ("training.precision=bf16", "there is no GPU to use it on; leave it at auto or fp32"),
        ("training.choose=ema", "no average is kept; set training.weight_ema_from"),
        ("method.rank=33", "rank"),
        ("unseen=[world:night,world:night]", "domain 'night' would be judged twice"),
        ("backbone=no-lab/no-model", "without network access give a local folder"),
        ("backbone=/no/such/folder", "not found: expected a hub id"),
        ("training.steps", "'training.steps' is no override; expected key.sub=value"),
        ("training.steps=[", "not valid YAML at line 1: did not find expected node content; quote text with special"),
    ],
)
def test_wrong_setting(refused, override, expected):
    assert expected in refused(override)


def test_unknown_preset(command):
    code, error = command("train", "demmo")
    assert code == 2
    assert "unknown preset 'demmo'; did you mean 'demo" in error
    assert "or a path that ends in .yaml" in error


def test_a_process_of_its_own_says_it_the_same_way(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "minorkey", "train", "demo", "method=somma", "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("minorkey: unknown method 'somma'; did you mean 'soma'?")
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def other_weights(finished_run, backbone_folder) -> Iterator[None]:
    """The backbone's folder holds other weights than when the run was trained."""
    file = backbone_folder / "model.safetensors"
    original = file.read_bytes()
    weights = load_file(file)
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1e-3}, file, {"format": "pt"})
    yield
    file.write_bytes(original)


@pytest.mark.usefixtures("other_weights")
def test_base_weights_of_another_model(finished_run, command, tmp_path):
    with pytest.raises(AdapterError, match="was trained on base weights .*use the weights it was trained on"):
        load(finished_run.path)
    code, error = command("evaluate", finished_run.path, "--out", tmp_path / "scores")
    assert code == 2
    assert "use the weights it was trained on" in error.strip().splitlines()[-1]


@pytest.mark.usefixtures("other_weights")
def test_resuming_on_other_base_weights(make_config, finished_run, console, tmp_path):
    folder = RunFolder(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    folder.metrics.unlink()
    folder.cost.unlink()
    with pytest.raises(AdapterError, match="use the backbone that the run started with"):
        train(make_config(), folder.path, resume=True, console=console)


def test_loss_that_is_no_number(make_config, console, tmp_path, refused):
    """The first step throws the weights far out; the loss of a later step cannot be computed."""
    line = refused("training.lr=1e18", "training.steps=8", "training.backbone_lr=1e18")
    assert "not finite at step" in line
    assert "on the batch clear/0-000" in line
    assert "Lower training.lr or set training.clip_norm" in line
    assert not (tmp_path / "run" / "training.json").exists()


def test_last_good_checkpoint_is_kept_when_the_loss_is_no_number(
    make_config, console, finished_run, tmp_path, monkeypatch
):
    from minorkey.tasks.segmentation.task import Segmentation

    losses, calls = Segmentation.loss, []

    def broken_from_the_fourth(self, model, batch):
        calls.append(batch.keys)
        return {
            name: value * (1 if len(calls) < 4 else torch.nan) for name, value in losses(self, model, batch).items()
        }

    monkeypatch.setattr(Segmentation, "loss", broken_from_the_fourth)
    with pytest.raises(TrainingError, match="loss is not finite at step 4, on the batch ") as error:
        train(make_config(), tmp_path, console=console)
    assert all(f"clear/{key}" in str(error.value) for key in calls[3])
    (kept,) = checkpoints(tmp_path / "checkpoints")
    expected = load_checkpoint(checkpoints(finished_run.checkpoints)[0])
    assert load_checkpoint(kept).step == expected.step == 2
    assert all(torch.equal(value, expected.head[name]) for name, value in load_checkpoint(kept).head.items())


def test_weights_that_are_no_numbers_are_not_saved(make_config, console, tmp_path, monkeypatch):
    """The loss is finite but its gradient is not, and the step is the last one before a checkpoint."""
    from minorkey.tasks.segmentation.task import Segmentation

    losses, calls = Segmentation.loss, []

    def steep_at_the_fourth(self, model, batch):
        calls.append(batch.keys)
        found = losses(self, model, batch)
        if len(calls) == 4:
            found["loss"] = (found["segmentation"] - found["segmentation"].detach()).sqrt()  # slope 1/0
        return found

    monkeypatch.setattr(Segmentation, "loss", steep_at_the_fourth)
    with pytest.raises(TrainingError, match="weights are not finite at step 4"):
        train(make_config(), tmp_path, console=console)
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-0000002"]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Callable[[int], Path]]:
    """A file system in memory of so many bytes; called again, its size changes."""
    place = tmp_path / "disk"
    place.mkdir()

    def resize(size: int) -> Path:
        remount = "remount," if place.is_mount() else ""
        options = ["-t", "tmpfs", "-o", f"{remount}size={size}"]
        done = subprocess.run(["mount", *options, "tmpfs", place], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
        return place

    yield resize
    if place.is_mount():
        subprocess.run(["umount", "--lazy", place], check=True)


def test_full_disk_while_saving(make_config, finished_run, console, small_disk):
    first, second = checkpoints(finished_run.checkpoints)
    disk = small_disk(int(1.7 * _size(first)))
    with pytest.raises(StorageError, match="cannot write .*: the disk is full; free some space") as error:
        train(make_config(), disk / "soma", console=console)
    assert "\n" not in str(error.value)
    folder = RunFolder(disk / "soma")
    assert [path.name for path in folder.checkpoints.iterdir()] == [first.name]
    small_disk(16 * _size(first))
    train(make_config(), folder.path, resume=True, console=console)
    last = load_checkpoint(checkpoints(folder.checkpoints)[-1])
    expected = load_checkpoint(second)
    assert all(torch.equal(value, expected.adapter[name]) for name, value in last.adapter.items())


def test_file_system_refuses_to_write(make_config, start, console, tmp_path):
    """As above where nothing can be mounted: the running process may suddenly write only small files."""
    folder = RunFolder(tmp_path / "run")
    config = make_config(training={"steps": 60, "checkpoint_every": 3})
    save_config(config, tmp_path / "run.yaml")
    process = start("train", tmp_path / "run.yaml", "--out", folder.path)
    deadline = time.monotonic() + 120
    while not checkpoints(folder.checkpoints) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
    _, error = process.communicate(timeout=120)
    assert process.returncode == 2, error
    assert "Traceback" not in error
    assert "minorkey: cannot write '" in error.splitlines()[-1]
    assert "What was saved before is untouched" in error
    saved = load_checkpoint(checkpoints(folder.checkpoints)[-1])
    assert saved.step < config.training.steps
    train(config, folder.path, resume=True, console=console)
    assert load_checkpoint(checkpoints(folder.checkpoints)[-1]).step == config.training.steps
