import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim import SGD

from minorkey.adapters import MethodOptions, attach
from minorkey.data.loaders import training_loader
from minorkey.data.readers import open_datasets
from minorkey.data.transforms import TransformConfig
from minorkey.labels import label_space
from minorkey.models.backbone import load_backbone
from minorkey.models.build import backbone_of
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.regimes.base import Setup
from minorkey.regimes.supervised import Supervised
from minorkey.runs.load import load
from minorkey.runs.train import train
from minorkey.system.progress import Reporter
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.counts import Counts
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.training.checkpoint import checkpoints
from minorkey.training.device import accelerator_for
from minorkey.training.drawn import draw
from minorkey.training.fit import Fit
from minorkey.training.interruption import StopFlag
from minorkey.training.log import trim_log
from minorkey.training.loop import Loop, _set_training_mode
from minorkey.training.optim import param_groups

PLAIN = {"scale_ratios": [1.0], "flip": 0.0, "photometric": False, "crop": [32, 48], "max_class_share": 1.0}


@pytest.fixture
def run_with_sgd(make_config, street_folder, console, tmp_path) -> Callable[..., tuple[Fit, list[float]]]:
    """Two steps of plain SGD without augmentation, so that weights move in proportion to their gradients."""
    source = street_folder(images=8)

    def run(batch_size: int, accumulate: int) -> tuple[Fit, list[float]]:
        training = {"steps": 2, "batch_size": batch_size, "accumulate": accumulate, "schedule": "constant"}
        config = make_config(source=str(source), label_space="street7", transform=PLAIN, training=training)
        options = config.training
        backbone = load_backbone(config.backbone)
        model = Segmentation().build(backbone.network, config.head, 7, seed=0)
        attached = attach(backbone.network, config.method)
        folder = tmp_path / f"{batch_size}x{accumulate}"
        folder.mkdir()
        reader = open_datasets(str(source), role="source", label_space=label_space("street7"))[0]
        fit = Fit(
            model=model,
            attached=attached,
            regime=Supervised(Setup(Segmentation(), model, attached, classes=7, steps=2)),
            optimizer=SGD(param_groups(model, lr=0.1, weight_decay=0.0), lr=0.1),
            options=options,
            anneal=False,
            accelerator=accelerator_for(options),
            loader=training_loader(
                Segmentation(), [reader], config.transform, batch_size=batch_size, steps_from=0,
                steps_to=2 * accumulate, seed=0, mean=backbone.mean, std=backbone.std,
            ),
            folder=RunFolder(folder),
            base_sha256="",
            seed=0,
        )  # fmt: skip
        with Reporter(console, "training", 2) as reporter:
            Loop(fit).run(reporter)
        return fit, [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]

    return run


def test_accumulated_batches_are_one_large_batch(run_with_sgd):
    whole, whole_losses = run_with_sgd(batch_size=4, accumulate=1)
    parts, part_losses = run_with_sgd(batch_size=2, accumulate=2)
    expected = whole.trained
    actual = parts.trained
    assert max((expected[name] - actual[name]).abs().max() for name in expected) < 1e-5
    assert part_losses == pytest.approx(whole_losses, abs=1e-5)


def test_reading_batches_leaves_the_random_state_of_dropout_alone(street_folder):
    reader = open_datasets(str(street_folder()), role="source", label_space=label_space("street7"))[0]
    loader = training_loader(
        Segmentation(), [reader], TransformConfig(crop=(16, 16)), batch_size=2, steps_from=0, steps_to=2, seed=0,
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
    )  # fmt: skip
    before = torch.random.get_rng_state()
    assert len(list(loader)) == 2
    assert torch.equal(torch.random.get_rng_state(), before)


def _state(config) -> tuple[dict[str, torch.Tensor], torch.nn.Module]:
    backbone = load_backbone(config.backbone).network
    return {name: value.clone() for name, value in backbone.state_dict().items()}, backbone


@pytest.mark.parametrize("method", ["soma", "full", "frozen"])
def test_what_should_train_moves_and_the_rest_does_not(make_config, console, tmp_path, method):
    config = make_config(method=method)
    train(config, tmp_path, console=console)
    before, backbone = _state(config)
    attached = attach(backbone, config.method)
    after = load(tmp_path).model.backbone.backbone.state_dict()
    assert after.keys() == before.keys()
    moved = {name for name in before if (after[name] - before[name]).abs().max() > 1e-6}
    adapted = {f"{layer}.{kind}" for layer in attached.layers for kind in ("weight", "bias")}
    # Of an unused final norm and mask token nothing flows back; key biases have no effect under softmax.
    unused = {"embeddings.mask_token", "layernorm.weight", "layernorm.bias"}
    expected = {"soma": adapted, "full": set(before) - unused, "frozen": set()}[method]
    untouched = set(before) - expected
    assert not moved & untouched
    idle = {name for name in expected - moved if "key" not in name and "k_proj" not in name}
    assert not idle


def test_schedule_reaches_the_log(make_config, console, tmp_path):
    config = make_config(training={"steps": 4, "lr": 1e-2, "warmup": 2, "power": 1.0})
    train(config, tmp_path, console=console)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["lr"] for line in lines] == pytest.approx([0.5e-2, 0.75e-2, 0.5e-2, 0.25e-2])
    assert all(line["images_per_second"] > 0 and line["memory_mb"] > 0 for line in lines)


def test_log_is_cut_where_the_run_goes_on(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (10, 20, 30)]
    log.write_text("\n".join([*lines, '{"step": 40, "lo']))
    trim_log(log, 20)
    assert log.read_text() == lines[0] + "\n" + lines[1] + "\n"
    trim_log(tmp_path / "none.jsonl", 20)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_weight_average_is_what_is_saved(make_config, console, tmp_path):
    """With a momentum near 0 the average stays at its first value, here that after step 2."""
    training = {"schedule": "constant", "anneal_weight_decay": False}
    average = {"steps": 4, "weight_ema_from": 2, "average_momentum": 1 - 1e-9}
    train(make_config(training=training | average), tmp_path / "average", console=console)
    train(make_config(training=training | {"steps": 2}), tmp_path / "two", console=console)
    for file in ("head.safetensors", "adapter/adapter_model.safetensors"):
        saved, expected = (load_file(tmp_path / run / file) for run in ("average", "two"))
        assert all(torch.allclose(value, expected[name], atol=1e-6) for name, value in saved.items())
    last = load_file(checkpoints(tmp_path / "average" / "checkpoints")[-1] / "head.safetensors")
    saved = load_file(tmp_path / "average" / "head.safetensors")
    assert any(not torch.allclose(value, last[name], atol=1e-4) for name, value in saved.items())


def test_a_stop_is_heard_before_more_is_read_and_where_reading_fails_with_it():
    def broken(flag):
        flag.requested = flag.requested or flag.ends
        raise RuntimeError("DataLoader worker exited unexpectedly")
        yield

    for requested, ends in ((True, False), (False, True)):
        flag = StopFlag()
        flag.requested, flag.ends = requested, ends
        drawn = draw(broken(flag), 2, Counts, flag)
        assert (drawn.stopped, drawn.batches, drawn.everyone.shape) == (True, [], (1, 2, 2))
    flag = StopFlag()
    flag.ends = False
    with pytest.raises(RuntimeError, match="worker exited"):
        draw(broken(flag), 2, Counts, flag)


def test_the_generator_of_the_caller_is_left_alone(make_config, console, tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(make_config(method="lora"), tmp_path / "run", console=console)
    load(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)


class Normed(nn.Module):
    """A backbone of someone's own, whose norm keeps statistics of every image."""

    channels, patch_size = (4,), 8

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 8, 8), nn.InstanceNorm2d(4, track_running_stats=True)
        self.blocks = nn.ModuleList([nn.ModuleDict({"fc1": nn.Linear(4, 4)})])

    def forward(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        maps = self.norm(self.stem(pixel_values))
        return [self.blocks[0]["fc1"](maps.movedim(1, -1)).movedim(-1, 1)]


@pytest.mark.parametrize(("method", "moves"), [("lora", False), ("full", True)])
def test_running_statistics_move_where_they_are_saved(method, moves):
    backbone = load_backbone(BackboneOptions(name=f"{__name__}:Normed")).network
    model = Segmentation().build(backbone, HeadOptions(name="linear"), 3, seed=0)
    attached = attach(backbone_of(model), MethodOptions(name=method, rank=2, layers={"fc1": ("fc1",)}))
    _set_training_mode(SimpleNamespace(network=model, attached=attached))
    norm = backbone_of(model).get_submodule("network.norm")
    before = norm.running_mean.clone()
    model(pixel_values=torch.randn(2, 3, 32, 32))
    assert torch.equal(norm.running_mean, before) != moves
