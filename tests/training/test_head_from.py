"""A run that begins with the head of another one."""

import shutil

import pytest
from adapting import assert_same_training
from safetensors.torch import load_file

from minorkey.config import save_config
from minorkey.errors import AdapterError, ConfigError, DataError
from minorkey.labels import label_space
from minorkey.models.build import head_state
from minorkey.runs.assemble import build_network
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.training.checkpoint import checkpoints

QUICK = {"source": False, "pictures": 0, "images": 1}
AS_IT_IS = {"steps": 1, "lr": 1e-12}
"""A training that changes nothing that could be seen."""


def distance(state, other):
    assert state.keys() == other.keys()
    return max(float((value - other[name]).abs().max()) for name, value in state.items())


@pytest.mark.parametrize("method", ["frozen", "lora"])
def test_begins_with_exactly_that_head(make_config, finished_run, console, tmp_path, method):
    """Also with another method than the run whose head it is."""
    config = make_config(method=method, training=AS_IT_IS, evaluation=QUICK, head_from=str(finished_run.path))
    train(config, tmp_path / "run", console=console)
    head, other = load_file(tmp_path / "run" / "head.safetensors"), load_file(finished_run.head)
    assert distance(head, other) < 1e-9
    fresh = head_state(build_network(config, label_space(config.label_space)).model)
    assert distance(fresh, other) > 1e-3


def test_a_resumed_run_goes_on_from_its_own_checkpoint(make_config, finished_run, console, tmp_path):
    """The other run may be gone by then."""
    other = shutil.copytree(finished_run.path, tmp_path / "other")
    config = make_config(evaluation=QUICK, head_from=str(other))
    whole = RunFolder(tmp_path / "whole")
    train(config, whole.path, console=console)
    folder = RunFolder(shutil.copytree(whole.path, tmp_path / "run"))
    for path in (folder.metrics, folder.cost, folder.head):
        path.unlink()
    for path in (folder.adapter, checkpoints(folder.checkpoints)[-1], other):
        shutil.rmtree(path)
    train(config, folder.path, resume=True, console=console)
    assert_same_training(folder, whole)


@pytest.mark.parametrize(
    ("changes", "different"),
    [
        ({"label_space": "street7"}, "label_space"),
        ({"head": {"channels": 16}}, "head"),
        ({"backbone": {"out_blocks": [1, 2, 3, 4]}}, "backbone"),
        ({"head": {"channels": 16}, "label_space": "street7"}, "head and label_space"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(make_config, finished_run, command, tmp_path, changes, different):
    save_config(make_config(**changes), tmp_path / "run.yaml")
    code, error = command("train", tmp_path / "run.yaml", f"head_from={finished_run.path}", "--out", tmp_path / "run")
    assert code == 2
    assert error.strip().splitlines()[-1] == (
        f"minorkey: head_from: '{finished_run.path}' has another {different} (see its config.yaml); "
        "give this run the same task, backbone, head, label_space, or set head_from=null"
    )


def test_the_shipped_head_is_called_by_its_name(command, tmp_path):
    code, error = command("train", "demo_quick", "head.channels=8", "--out", tmp_path / "run")
    assert code == 2
    assert "minorkey: head_from: 'builtin' has another head; give this run the same" in error


def test_a_run_that_is_not_there(make_config, console, tmp_path):
    with pytest.raises(DataError, match=f"no run in '{tmp_path / 'gone'}'"):
        train(make_config(head_from=str(tmp_path / "gone")), tmp_path / "run", console=console)


def test_either_a_head_or_all_weights(make_config):
    with pytest.raises(ConfigError, match="start_from and head_from are both given, and the first brings a head too"):
        make_config(start_from="runs/a", head_from="runs/b")


def test_a_head_of_other_pretrained_weights_is_refused(make_config, make_backbone, console, tmp_path):
    settings = {"backbone": str(make_backbone("backbone")), "evaluation": QUICK}
    train(make_config(**settings, training={"steps": 1}), tmp_path / "other", console=console)
    make_backbone("backbone", seed=1)
    with pytest.raises(AdapterError, match=f"run '{tmp_path / 'other'}' was trained on base weights [0-9a-f]+, but "):
        train(make_config(**settings, head_from=str(tmp_path / "other")), tmp_path / "run", console=console)
