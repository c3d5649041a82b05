"""What each regime and each task have to keep to with each other, whichever there are."""

from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from students import BACKBONES, COLOURS, assert_same

from minorkey.adapters import MethodOptions, attach
from minorkey.config import resolve
from minorkey.data.sample import Pair
from minorkey.errors import ConfigError
from minorkey.models.build import backbone_of
from minorkey.models.options import HeadOptions
from minorkey.regimes.base import Regime, Setup
from minorkey.regimes.table import REGIMES
from minorkey.tasks.table import TASKS, task_named

CLASSES, CROP = 3, (64, 64)


def _config(regime: str, task: str, **changes):
    target = ["world:night"] if REGIMES.resolve(regime).adapts else []
    return resolve(None, {"source": "world", "task": task, "regime": regime, "target": target} | changes)


def _accepted() -> list[tuple[str, str]]:
    pairs = []
    for pair in ((regime, task) for regime in REGIMES.shipped for task in TASKS.shipped):
        with suppress(ConfigError):
            _config(*pair)
            pairs.append(pair)
    return pairs


ACCEPTED = _accepted()


def test_which_regimes_go_with_which_tasks():
    assert {("supervised", task) for task in TASKS.shipped} <= set(ACCEPTED)
    able = {task for task in TASKS.shipped if task_named(task).self_training is not None}
    assert {task for regime, task in ACCEPTED if regime == "self_training"} == able
    dense = {task for task in TASKS.shipped if task_named(task).offers("probabilities")}
    assert {task for regime, task in ACCEPTED if regime == "transda"} == dense
    assert {"segmentation", "detection"} <= able


def _regime(name: str, task_name: str, mixup: float = 0.0, **options) -> Regime:
    config, task = _config(name, task_name, self_training={"threshold": 0.01} | options), task_named(task_name)
    options = HeadOptions(name=task.default_head, channels=32, queries=6, decoder_layers=2, mixup=mixup)
    model = task.build(BACKBONES["dinov2"](), options, CLASSES, seed=0)
    attached = attach(backbone_of(model), MethodOptions(name="lora", rank=2, first_block=0))
    own = getattr(config, config.regime_class.section)
    setup = Setup(task, model.train(), attached, CLASSES, 4, options=own, colours=COLOURS, labelled=True)
    return config.regime_class(setup, config.regime_class.pretrained(setup))


def _batch(regime: Regime, seed: int):
    images = torch.randn(2, 3, *CROP, generator=torch.Generator().manual_seed(seed))
    trial = regime.task.trial(CROP, "cpu")
    return replace(trial, pixel_values=images, clean=images, filled=torch.ones(2, *CROP, dtype=torch.bool))


@pytest.mark.parametrize(("name", "task"), ACCEPTED)
def test_a_step(name, task):
    """As many losses as passes come first and reach what trains; the state is that of its parts, and survives."""
    torch.manual_seed(0)
    regime = _regime(name, task)
    batch = Pair(_batch(regime, 1), _batch(regime, 2)) if regime.adapts else _batch(regime, 1)
    passes, trained = regime.passes, [p for p in regime.model.parameters() if p.requires_grad]
    for place, group in enumerate(regime.losses(batch)):
        loss = torch.stack([*group.values()]).sum()
        assert torch.isfinite(loss)
        reached = torch.autograd.grad(loss, trained, allow_unused=True)
        assert any(g is not None and g.any() for g in reached) == (place < passes)
    assert place + 1 >= passes
    assert all(0 <= value.min() <= value.max() <= 1 for value in regime.signals.values())
    regime.after_step(1)
    state = {key: value.clone() for key, value in regime.state_dict().items()}
    again = _regime(name, task)
    again.load_state_dict(state)
    assert_same(again.state_dict(), state)
    with pytest.raises(ValueError, match=r"got \['strange\.key'\]"):
        again.load_state_dict(state | {"strange.key": torch.zeros(1)})


def test_features_are_compared_with_the_pretrained_ones_of_the_same_blended_images():
    """A student that has learnt nothing yet is where the pretrained network is, whatever images are shown."""
    torch.manual_seed(0)
    distances = {"feature_distance_source": 1.0, "feature_distance_target": 1.0, "masking": None}
    regime = _regime("self_training", "classification", mixup=1.0, **distances)
    terms = {}
    for group in regime.losses(Pair(_batch(regime, 1), _batch(regime, 2))):
        terms |= group
    assert terms["feature_distance_source"].item() == pytest.approx(0, abs=1e-6)
    assert terms["feature_distance_target"].item() == pytest.approx(0, abs=1e-6)
