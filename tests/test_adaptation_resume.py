"""An adaptation that was stopped anywhere ends with the same bits as one that was not."""

import io
import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from adapting import EVERYTHING, adapting, assert_same_scores, assert_same_training, read_log
from rich.console import Console

from minorkey.config import save_config
from minorkey.evaluation.scores import TrainingCost
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.training.checkpoint import checkpoints
from minorkey.training.loop import Interrupted

CASES = {
    "adapter_ema": adapting("self_training", "adapter_ema"),
    "ema": adapting("self_training", "ema", buffers="student", self_training=EVERYTHING | {"warmup": 2}),
    "transda adapter_ema": adapting(
        "transda", "adapter_ema", transda={"rounds": 1, "balance": "prior", "resolution": "image"}
    ),
    "transda ema": adapting("transda", "ema"),
    "transda self": adapting("transda", "self"),
}


@pytest.fixture(scope="module")
def reference(make_config, tmp_path_factory) -> Callable[[str], RunFolder]:
    """An uninterrupted run of a case; read only."""
    done: dict[str, RunFolder] = {}

    def run(name: str) -> RunFolder:
        if name not in done:
            done[name] = RunFolder(tmp_path_factory.mktemp("whole") / "run")
            train(make_config(**CASES[name]), done[name].path, console=Console(file=io.StringIO()))
        return done[name]

    return run


def _remove(*paths: Path) -> None:
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _not_ended(folder: RunFolder) -> None:
    """Without what the end of a training writes."""
    _remove(folder.metrics, folder.path / "confusions.safetensors", folder.cost, folder.head, folder.adapter)


def _half(folder: RunFolder) -> None:
    """Killed a step after its checkpoint before the last, while it wrote the log."""
    _not_ended(folder)
    _remove(checkpoints(folder.checkpoints)[-1])
    step = int(checkpoints(folder.checkpoints)[-1].name.removeprefix("step-")) + 1
    lines = [line for line in folder.log.read_text().splitlines(keepends=True) if json.loads(line)["step"] <= step]
    folder.log.write_text("".join(lines) + '{"step": 9, "lo')


def _not_begun(folder: RunFolder) -> None:
    _not_ended(folder)
    _remove(folder.log, folder.checkpoints, folder.pseudo_labels)


def _in_warm_up(folder: RunFolder) -> None:
    _not_begun(folder)
    _half(folder.earlier_round(0))


def _writing_pseudo_labels(folder: RunFolder) -> None:
    labels = sorted(folder.pseudo_labels.rglob("*.png"))
    _not_ended(folder)
    _remove(folder.log, folder.checkpoints, *labels[3:])
    labels[3].with_name(f".{labels[3].name}.partial").write_bytes(labels[2].read_bytes()[:40])


POINTS = [
    ("adapter_ema", _half),
    ("transda adapter_ema", _not_begun),
    ("transda adapter_ema", _writing_pseudo_labels),
    ("transda self", _half),
    pytest.param("adapter_ema", _not_ended, marks=pytest.mark.thorough),
    pytest.param("ema", _half, marks=pytest.mark.thorough),
    pytest.param("transda ema", _in_warm_up, marks=pytest.mark.thorough),
]


@pytest.mark.parametrize(("name", "stopped"), POINTS, ids=lambda value: getattr(value, "__name__", value))
def test_resumed_run_ends_as_an_uninterrupted_one(reference, make_config, console, tmp_path, name, stopped):
    whole = reference(name)
    folder = RunFolder(Path(shutil.copytree(whole.path, tmp_path / "run")))
    stopped(folder)
    train(make_config(**CASES[name]), folder.path, resume=True, console=console)
    assert_same_training(folder, whole)
    assert_same_scores(folder, whole)
    for place in whole.path.glob("rounds/*"):
        assert_same_training(RunFolder(folder.path / place.relative_to(whole.path)), RunFolder(place))
    labels = {path.relative_to(whole.path): path.read_bytes() for path in whole.pseudo_labels.rglob("*.png")}
    found = {path.relative_to(folder.path): path.read_bytes() for path in folder.pseudo_labels.rglob("*.png")}
    assert {path: found[path] for path in labels} == labels
    assert len(labels) == (6 if name.startswith("transda") else 0)


def test_killed_in_the_last_round(reference, make_config, start, console, tmp_path):
    whole, folder = reference("transda self"), RunFolder(tmp_path / "run")
    save_config(make_config(**CASES["transda self"]), tmp_path / "run.yaml")
    process = start("train", tmp_path / "run.yaml", "--out", folder.path)
    deadline = time.monotonic() + 120
    while not folder.log.is_file():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.1))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not folder.cost.is_file()
    train(make_config(**CASES["transda self"]), folder.path, resume=True, console=console)
    assert_same_training(folder, whole)
    assert_same_scores(folder, whole)


def test_ctrl_c_in_a_round_names_the_run(make_config, tmp_path):
    class Impatient(io.StringIO):
        """A terminal whose user presses Ctrl-C at the first line of progress."""

        def write(self, text):
            if "loss" in text:
                signal.raise_signal(signal.SIGINT)
            return super().write(text)

    changes = adapting("transda", "self", training={"steps": 500}, transda={"rounds": 1})
    with pytest.raises(Interrupted, match=f"go on with `minorkey train --resume {tmp_path / 'run'}`"):
        train(make_config(**changes), tmp_path / "run", console=Console(file=Impatient(), width=200))
    assert checkpoints(RunFolder(tmp_path / "run").earlier_round(0).checkpoints)


def test_cost_counts_every_round_once(make_config, console, tmp_path):
    changes = adapting("transda", "self", transda={"rounds": 2, "warmup_steps": 3}, training={"steps": 1})
    train(make_config(**changes), tmp_path / "run", console=console)
    folder = RunFolder(tmp_path / "run")
    places = [folder.earlier_round(0), folder.earlier_round(1), folder]
    costs = [TrainingCost.read(place.cost) for place in places]
    assert [cost.steps for cost in costs] == [3, 4, 5]
    own = [checkpoints(place.checkpoints)[-1].name for place in places]
    assert own == ["step-0000003", "step-0000001", "step-0000001"]
    assert costs[0].seconds < costs[1].seconds < costs[2].seconds
    assert not any("target" in record for record in read_log(places[0]))
    assert all("target" in record for record in read_log(folder) if "loss" in record)
