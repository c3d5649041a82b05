"""A regime and a teacher of someone else's, with options of their own: trained, resumed, refused where wrong."""

import json

import pytest
import torch
from adapting import assert_same_training
from safetensors.torch import load_file

from minorkey.config import load_config, save_config
from minorkey.errors import ConfigError, OutsideError
from minorkey.reporting.page import build_report
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.training.checkpoint import checkpoints

REGIME = '''
from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor

from minorkey.data.sample import Pair
from minorkey.regimes.base import RegimeOptions, Setup, TeacherRegime


class Options(RegimeOptions):
    weight: float = Field(1.0, ge=0, description="of the consistency loss")


class Consistency(TeacherRegime):
    """A student predicts of distorted target images what its teacher predicts of them as they were taken."""

    Options = Options

    @property
    def passes(self) -> int:
        return 2

    def losses(self, batch: Pair) -> Iterator[dict[str, Tensor]]:
        with self.teacher.installed() as network:
            expected = self.task.probabilities(network, batch.target.clean)
        yield self.named("source", self.task.loss(self.model, batch.source), batch.source)
        found = self.task.probabilities(self.model, batch.target.pixel_values)
        self.signals = {"confidence": expected.amax(dim=1).mean()}
        yield {"consistency": self.options.weight * (found - expected).square().mean()}
'''

TEACHER = '''
from pydantic import Field

from minorkey.regimes.teachers import AdapterEma, TeacherOptions


class Options(TeacherOptions):
    every: int = Field(1, ge=1, description="steps between two copies of the student")


class Copied(AdapterEma):
    """The student as it was a few steps ago."""

    Options = Options

    def momentum(self, step: int) -> float:
        return float(step % self.options.every != 0)
'''

SCALED = '''
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from minorkey.data.sample import Batch
from minorkey.regimes.base import Regime, named_group


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(()))


class Scaled(Regime):
    """Of labelled source images: the loss over a variance that is learnt beside the network."""

    def __init__(self, setup, pretrained=None) -> None:
        super().__init__(setup, pretrained)
        self.scale = Scale()

    def modules(self) -> dict[str, nn.Module]:
        return {"scale": self.scale}

    def param_groups(self) -> list[dict]:
        return [named_group("scale", self.scale, lr=0.1)]

    def losses(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        terms, scale = self.task.loss(self.model, batch), self.scale.log_variance
        divided = {name: term * (-scale).exp() for name, term in terms.items()}
        yield self.named("source", divided, batch) | {"scale": scale}
'''

OWN = {
    "regime": "mine.regimes:Consistency",
    "regime_options": {"weight": 3.0},
    "teacher": {"name": "mine.teachers:Copied", "every": 2},
    "target": "world:night",
    "world": {"size": [64, 32], "train_count": 6, "eval_count": 2},
    "evaluation": {"source": False, "pictures": 0, "images": 2},
    "training": {"steps": 3, "snapshots": 0, "checkpoint_every": 1},
}


@pytest.fixture
def own(write_module):
    write_module("regimes", REGIME)
    write_module("teachers", TEACHER)


def test_they_train_and_resume(own, make_config, console, tmp_path):
    config, folder = make_config(**OWN), RunFolder(tmp_path / "run")
    train(config, folder.path, console=console)
    records = [json.loads(line) for line in folder.log.read_text().splitlines()]
    assert all({"source", "consistency", "confidence"} <= record.keys() for record in records)
    assert json.loads(folder.metrics.read_text())["adaptation"]["teacher"] == "mine.teachers:Copied"
    page = build_report([folder.path], tmp_path / "page.html").read_text()
    assert all(f"<td>{name}</td>" in page for name in ("mine.regimes:Consistency", "mine.teachers:Copied"))
    again = RunFolder(tmp_path / "again")
    train(config, again.path, console=console)
    saved = checkpoints(again.checkpoints)
    for path in (again.metrics, again.cost, again.head):
        path.unlink()
    for kept in saved[-1].iterdir():
        kept.unlink()
    saved[-1].rmdir()
    train(load_config(again.config), again.path, resume=True, console=console)
    assert_same_training(again, folder)


def test_a_regime_without_a_target_trains_what_is_its_own(write_module, make_config, console, tmp_path):
    write_module("scaled", SCALED)
    folder = RunFolder(tmp_path / "run")
    train(make_config(regime="mine.scaled:Scaled", training={"steps": 2}), folder.path, console=console)
    (scale,) = load_file(checkpoints(folder.checkpoints)[-1] / "regime.safetensors").values()
    assert 0.15 < abs(float(scale)) < 0.25  # two steps of Adam at a rate of 0.1
    assert json.loads(folder.metrics.read_text()).get("adaptation") is None


def test_their_options_count(own, make_config, console, tmp_path):
    runs = []
    for name, changes in {"plain": {}, "weight": {"regime_options": {"weight": 0.0}}}.items():
        train(make_config(**OWN | changes), tmp_path / name, console=console)
        records = [json.loads(line) for line in RunFolder(tmp_path / name).log.read_text().splitlines()]
        runs.append([record["consistency"] for record in records])
    assert all(value > 0 for value in runs[0])
    assert not any(runs[1])


def test_the_teacher_follows_as_it_says(own, make_config, console, tmp_path):
    """Of the steps two and three, each with a checkpoint, it copies the student in the first alone."""
    train(make_config(**OWN), tmp_path / "run", console=console)
    saved = checkpoints(RunFolder(tmp_path / "run").checkpoints)
    (copied, kept), (before, after) = (
        [load_file(folder / f"{part}.safetensors") for folder in saved] for part in ("regime", "adapter")
    )
    assert all(torch.equal(value, kept[name]) for name, value in copied.items())
    assert not all(torch.equal(value, after[name]) for name, value in before.items())
    named = {name.removeprefix("teacher."): value for name, value in copied.items()}
    assert any(torch.equal(value, own) for value in before.values() for own in named.values() if own.numel() > 1)


def test_the_configuration_has_their_options(own, make_config, tmp_path):
    config = make_config(**OWN)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    assert (config.regime_options.weight, config.teacher.every, config.deployed) == (3.0, 2, "teacher")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"regime_options": {"wieght": 1}}, "'regime_options.wieght'; did you mean 'regime_options.weight'?"),
        ({"regime_options": {"weight": -1}}, "regime_options.weight is -1: Input should be greater than or equal to 0"),
        ({"teacher": {"name": "mine.teachers:Copied", "evry": 2}}, "'teacher.evry'; did you mean 'teacher.every'?"),
        ({"target": []}, "regime mine.regimes:Consistency adapts to a target; name one"),
        ({"regime": "self_training"}, "unknown key 'regime_options.weight'"),
    ],
)
def test_wrong_options(own, make_config, changes, expected):
    with pytest.raises(ConfigError) as error:
        make_config(**OWN | changes)
    assert expected in str(error.value)


def test_what_is_no_regime(own, make_config):
    with pytest.raises(OutsideError, match=r"regime 'mine\.regimes:Options' is the class .*; expected a"):
        make_config(**OWN | {"regime": "mine.regimes:Options"})
    with pytest.raises(OutsideError, match=r"teacher 'mine\.teachers:Options' is the class .*; expected a subclass"):
        make_config(**OWN | {"teacher": {"name": "mine.teachers:Options"}})
