"""Two processes that adapt together hold the same student, teacher and discriminators, bit for bit."""

import json
from pathlib import Path

import pytest
import torch
from adapting import adapting, read_log
from launching import Launched, torchrun
from PIL import Image
from safetensors.torch import load_file

from minorkey.config import save_config
from minorkey.system.run_folder import RunFolder
from minorkey.world import render

TRAINING = {"batch_size": 4, "accumulate": 2, "log_every": 100, "checkpoint_every": 100}
CASES = {
    "self-training": adapting("self_training", "adapter_ema", training=TRAINING),
    "transda": adapting(
        "transda",
        "ema",
        training=TRAINING | {"skip_broken": True},
        transda={"rounds": 1, "class_wise": True, "balance": "confidence"},
    ),
}
PARTS = {
    "self-training": {"student", "teacher", "anchor", "feature_head", "balance"},
    "transda": {"student", "teacher", "discriminator", "weighting"},
}


def _write_night(folder: Path) -> None:
    """Six images, of which that is broken which falls to the second process."""
    folder.mkdir()
    for index in range(6):
        Image.fromarray(render(0, index, "night", size=(64, 32)).image).save(folder / f"{index}.png")
    (folder / "1.png").write_text("no image")


@pytest.fixture(scope="module")
def launched(make_config, commands, tmp_path_factory) -> tuple[Path, Launched]:
    root, jobs = tmp_path_factory.mktemp("adapting"), []
    _write_night(root / "night")
    for name, case in CASES.items():
        target = {"target": str(root / "night")} if name == "transda" else {}
        save_config(make_config(**case | target), root / f"{name}.yaml")
        jobs.append({"do": "adapt", "config": str(root / f"{name}.yaml"), "out": str(root / name)})
    (root / "jobs.json").write_text(json.dumps(jobs))
    launched = torchrun(root, Path(__file__).with_name("worker.py"), root / "jobs.json", warm=commands)
    assert launched.code == 0, launched.stderr
    return root, launched


@pytest.mark.parametrize("name", CASES)
def test_all_that_trains_and_teaches_is_the_same(launched, name):
    root, _ = launched
    first, second = (load_file(root / f"{name}-{process}.safetensors") for process in (0, 1))
    assert {key.partition(".")[0] for key in first} == PARTS[name]
    assert first.keys() == second.keys()
    assert not [key for key, value in first.items() if not torch.equal(second[key], value)]


@pytest.mark.parametrize("name", CASES)
def test_a_step_exchanges_one_word_and_one_gradient(launched, name):
    """However many batches and passes it has; the first word is beside those of the start."""
    root, _ = launched
    for process in (0, 1):
        steps = json.loads((root / f"{name}-{process}.json").read_text())[-3:]
        assert [step["reductions"] for step in steps] == [1, 1, 1]
        assert [step["words"] for step in steps[1:]] == [1, 1]


@pytest.mark.parametrize("name", CASES)
def test_the_run_ends_with_scores_and_one_log(launched, name):
    root, launch = launched
    folder = RunFolder(root / name)
    assert [record["step"] for record in read_log(folder) if "loss" in record] == [3]
    assert folder.metrics.is_file()
    assert len(list(folder.pseudo_labels.rglob("*.png"))) == (5 if name == "transda" else 0)
    assert launch.stderr[0].count(f"without pseudo-labels: {root / 'night' / '1.png'}") == 1
    assert launch.stderr[1] == ""
