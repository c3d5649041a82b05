"""Two processes give what one gives; they differ by the order in which sums are taken, and so much is bounded here."""

import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from launching import Launched, torchrun, write_streets
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

from minorkey.config import RunConfig, save_config
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.system.sealed import read_sealed
from minorkey.training.checkpoint import checkpoints

ATOL = 2e-5
"""Largest difference of a weight after 4 steps at a rate of 1e-3."""

NOISE = 1e-7
"""Gradients below are zero but for rounding (that of a key's bias is); AdamW makes steps of them as of any other."""

FOUR = {"batch_size": 4, "steps": 4, "checkpoint_every": 2}
AUTO = "cpu" if torch.accelerator.is_available() else "auto"
"""The first of the runs says it: it connects the processes."""

AVERAGED = {"weight_ema_from": 2, "average_momentum": 0.7}
BOXES = {
    "task": "detection",
    "label_space": "weather7",
    "transform": {"crop": [96, 96], "scale_jitter": [0.8, 1.5]},
    "training": FOUR | {"clip_norm": 0.5},
}
CASES = {
    "soma": {"training": FOUR | {"device": AUTO}},
    "full": {"method": "full", "training": FOUR | {"gradient_checkpointing": True}},
    "accumulated": {"training": FOUR | {"accumulate": 2, "clip_norm": 0.5}},
    "batch norm": {"method": "lora", "head": {"name": "linear"}, "training": FOUR | AVERAGED},
    "auxiliary head": {"method": "full", "head": {"name": "upernet", "channels": 8}, "training": FOUR},
    "ignored pixels": {"source": "streets", "unseen": "streets:val", "training": FOUR | {"batch_size": 2}},
    "boxes": BOXES | {"head": {"name": "atss", "channels": 32, "decoder_layers": 1}},
    "oracle": {"training": FOUR | {"choose": "oracle", "judge_every": 1}},
    "sharded soma": {"training": FOUR | {"shard": True, "choose": "best_source", "judge_every": 3, "clip_norm": 0.5}},
    "sharded full": {"method": "full", "training": FOUR | AVERAGED | {"shard": True}},
}
THOROUGH = ("full", "auxiliary head", "ignored pixels", "sharded full")
RESUMED = ("soma", "sharded soma")
BATCH = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0)) * 3 + 1


def named(names):
    """Tests of some cases, by name."""
    marked = [pytest.param(name, marks=pytest.mark.thorough if name in THOROUGH else ()) for name in names]
    return pytest.mark.parametrize("name", marked)


@dataclass(frozen=True)
class Runs:
    """The same jobs done by one process and by two."""

    root: Path
    launched: Launched

    def one(self, name: str) -> RunFolder:
        return RunFolder(self.root / "one" / name)

    def two(self, name: str) -> RunFolder:
        return RunFolder(self.root / "two" / name)


@pytest.fixture(scope="module")
def configs(request, make_config, tmp_path_factory) -> dict[str, RunConfig]:
    """Of the cases that are wanted: those that are thorough are where a test of them is run."""
    base = {"world": {"size": [128, 64], "train_count": 12, "eval_count": 5}}
    base["transform"] = {"crop": [64, 64], "scale_ratios": [1.0, 1.25]}
    streets = str(write_streets(tmp_path_factory.mktemp("data") / "streets"))

    def placed(value):
        return value.replace("streets", streets) if isinstance(value, str) else value

    def config(name, case):
        judging = {} if name == "soma" else {"evaluation": {"source": False, "pictures": 0, "images": 1}}
        return make_config(**base | judging | {k: placed(v) for k, v in case.items()})

    tests = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {params.get("name") for params in tests}
    return {name: config(name, case) for name, case in CASES.items() if name in wanted or name not in THOROUGH}


@pytest.fixture(scope="module")
def runs(configs, commands, tmp_path_factory) -> Runs:
    root = tmp_path_factory.mktemp("runs")
    jobs: list[dict] = []
    for name, config in configs.items():
        save_config(config, root / f"{name}.yaml")
        train(config, root / "one" / name, console=Console(file=io.StringIO()))
        jobs.append({"do": "train", "config": str(root / f"{name}.yaml"), "out": str(root / "two" / name)})
    for name in RESUMED:
        half = _halfway(root / "one" / name, root / "two" / f"{name} resumed")
        jobs.append({"do": "train", "config": str(root / f"{name}.yaml"), "out": str(half), "resume": True})
    soma = str(root / "one" / "soma")
    jobs.append({"do": "evaluate", "run": soma, "out": str(root / "two" / "judged")})
    images = _write_images(root / "images")
    jobs.append({"do": "predict", "run": soma, "images": str(images), "out": str(root / "predicted")})
    streets = _write_cityscapes(root / "data")
    jobs.append({"do": "submit", "run": soma, "out": str(root / "submitted"), "data": str(streets)})
    jobs.append({"do": "batch_norm", "batch": BATCH.tolist(), "out": str(root)})
    jobs.append({"do": "mixed_shards", "config": str(root / "soma.yaml"), "out": str(root)})
    (root / "jobs.json").write_text(json.dumps(jobs))
    launched = torchrun(root, Path(__file__).with_name("worker.py"), root / "jobs.json", warm=commands)
    assert launched.code == 0, launched.stderr
    return Runs(root, launched)


def _halfway(finished: Path, copy: Path) -> Path:
    """A copy of a finished run, taken back to its checkpoint before the last."""
    folder = RunFolder(Path(shutil.copytree(finished, copy)))
    for path in (folder.metrics, folder.cost, folder.head):
        path.unlink()
    shutil.rmtree(checkpoints(folder.checkpoints)[-1])
    return copy


def _write_images(folder: Path) -> Path:
    folder.mkdir()
    for index in range(5):
        Image.fromarray(np.full((32, 48, 3), 40 * index, np.uint8)).save(folder / f"{index}.png")
    (folder / "broken.png").write_text("no image")
    return folder


def _write_cityscapes(root: Path) -> Path:
    folder = root / "cityscapes" / "leftImg8bit" / "test" / "berlin"
    folder.mkdir(parents=True)
    for index in range(5):
        Image.fromarray(np.full((32, 64, 3), 40 * index, np.uint8)).save(folder / f"berlin_{index}_leftImg8bit.png")
    return root


def _part(run: RunFolder, part: str) -> dict[str, torch.Tensor]:
    return load_file(checkpoints(run.checkpoints)[-1] / f"{part}.safetensors")


def _assert_close(actual: RunFolder, expected: RunFolder) -> None:
    """All that a checkpoint holds, but the weights and the state of those without a true gradient."""
    squares = {k: v for k, v in _part(expected, "optimizer").items() if k.endswith("exp_avg_sq")}
    noise = {k.rpartition("|")[0]: v.div(1 - 0.999**4).sqrt() < NOISE for k, v in squares.items()}
    for part in ("adapter", "head", "ema", "best", "optimizer"):
        ours, theirs = _part(actual, part), _part(expected, part)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            parameter = name.rpartition("|")[0] or name.removeprefix("trained.").removeprefix("adapter.trained.")
            parameter = parameter.removeprefix("head.")
            unclear = next((mask for full, mask in noise.items() if full.endswith(parameter)), torch.tensor(False))
            difference = (ours[name].double() - value.double()).abs().masked_fill(unclear, 0)
            assert difference.max() <= ATOL, (part, name, float(difference.max()))


def _losses(run: RunFolder) -> list[float]:
    return [record["loss"] for record in map(json.loads, run.log.read_text().splitlines()) if "loss" in record]


@named(CASES)
def test_training_gives_the_same_weights(runs, name):
    _assert_close(runs.two(name), runs.one(name))
    assert _losses(runs.two(name)) == pytest.approx(_losses(runs.one(name)), abs=2e-6)
    assert len(_losses(runs.two(name))) == 4


@pytest.mark.parametrize("name", RESUMED)
def test_one_process_begins_and_two_go_on(runs, name):
    _assert_close(runs.two(f"{name} resumed"), runs.one(name))


@pytest.mark.parametrize("name", RESUMED)
def test_two_processes_begin_and_one_goes_on(runs, configs, tmp_path, name):
    half = _halfway(runs.two(name).path, tmp_path / "half")
    train(configs[name], half, resume=True, console=Console(file=io.StringIO()))
    _assert_close(RunFolder(half), runs.one(name))


@named(["full", "sharded full", "sharded soma", "batch norm"])
def test_what_is_saved_is_what_was_trained(runs, name):
    """The files of a run, which hold the deployed weights, are as close as the checkpoints."""
    for file in ("head.safetensors", "backbone.safetensors", "adapter/adapter_model.safetensors"):
        ours, theirs = (run.path / file for run in (runs.two(name), runs.one(name)))
        assert ours.is_file() == theirs.is_file()
        if theirs.is_file():
            loaded = load_file(ours), load_file(theirs)
            assert {k: v.shape for k, v in loaded[0].items()} == {k: v.shape for k, v in loaded[1].items()}
            # keys' biases, see NOISE, and what stands for them in an adapter
            assert all((loaded[0][k] - v).abs().max() < (5e-3 if "k_proj" in k else ATOL) for k, v in loaded[1].items())


def test_the_choice_is_the_same_and_is_said(runs):
    for name, weights in (("oracle", "oracle"), ("sharded soma", "best_source")):
        one, two = (json.loads(run.metrics.read_text()) for run in (runs.one(name), runs.two(name)))
        assert two["protocol"] == one["protocol"]
        assert two["protocol"]["weights"] == weights


def test_judging_is_exact(runs):
    one, two = runs.one("soma"), runs.two("judged")
    expected, actual = (load_file(run.path / "confusions.safetensors") for run in (one, two))
    assert {name: column.tolist() for name, column in actual.items() if name.endswith("/size")} == {
        "clear/size": [5, 19],
        "night/size": [5, 19],
    }
    assert all(torch.equal(actual[name], column) for name, column in expected.items())
    pictures = {path.relative_to(one.samples): path.read_bytes() for path in one.samples.rglob("*.png")}
    assert len(pictures) == 2 * 3
    assert {path.relative_to(two.samples): path.read_bytes() for path in two.samples.rglob("*.png")} == pictures
    ours, theirs = (read_sealed(run.metrics).values for run in (one, two))
    assert ours == theirs


def test_predicting_shares_the_images_out(runs):
    written = sorted(path.name for path in (runs.root / "predicted" / "ids").iterdir())
    assert written == [f"{index}.png" for index in range(5)]
    for process in (0, 1):
        done = json.loads((runs.root / "predicted" / f"done-{process}.json").read_text())
        assert (done["written"], done["skipped"]) == (5, 0)
        (problem,) = done["problems"]
        assert str(runs.root / "images" / "broken.png") in problem


def test_a_submission_is_shared_out(runs):
    written = sorted(path.name for path in (runs.root / "submitted").iterdir())
    assert written == [f"berlin_{index}_leftImg8bit.png" for index in range(5)]
    assert [json.loads((runs.root / f"submitted-{process}.json").read_text()) for process in (0, 1)] == [5, 5]


def test_only_the_main_process_speaks(runs):
    main, other = runs.launched.stderr
    assert "judged 10 images" in main
    assert other == ""
    assert runs.launched.stdout[1] == ""


def test_batch_norm_is_that_of_the_whole_batch(runs):
    norm, values = nn.BatchNorm2d(3), BATCH.clone().requires_grad_()
    output = norm(values)
    output.square().mul(values.detach()).sum().backward()
    parts = [load_file(runs.root / f"norm-{process}.safetensors") for process in (0, 1)]
    torch.testing.assert_close(torch.cat([part["output"] for part in parts]), output)
    torch.testing.assert_close(torch.cat([part["gradient"] for part in parts]), values.grad)
    torch.testing.assert_close(sum(part["weight.grad"] for part in parts), norm.weight.grad, rtol=1e-5, atol=1e-4)
    for part in parts:
        for name, value in norm.named_buffers():
            torch.testing.assert_close(part[name], value)


def test_shards_are_sent_in_bf16_and_trained_in_float32(runs):
    for process in (0, 1):
        kinds = json.loads((runs.root / f"types-{process}.json").read_text())
        assert kinds == {"sent": ["torch.bfloat16"], "trained": ["torch.float32"], "gradients": ["torch.float32"]}
