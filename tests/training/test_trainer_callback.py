"""Annealing within the transformers `Trainer`: what its optimizer sees at every step."""

import math

import pytest
import torch
from torch import nn
from torch.optim import AdamW
from transformers import Dinov2Config, Dinov2Model, Trainer, TrainerCallback, TrainingArguments

from minorkey.adapters import MethodOptions, attach, fold
from minorkey.errors import ConfigError
from minorkey.training.annealing import AnnealingCallback
from minorkey.training.optim import param_groups

STEPS, INITIAL, MINIMUM = 6, 0.3, 0.01


class Regression(nn.Module):
    """The smallest model that the `Trainer` takes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2)
        self.linear = nn.Linear(2, 1)

    def forward(self, x, y):
        """Squared error, in a dict as the `Trainer` expects it."""
        return {"loss": (self.linear(self.norm(x)) - y).square().mean()}


class Watch(TrainerCallback):
    """Notes the weight decay of each group just before the optimizer steps, and can stop the run."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen: list[list[float]] = []
        self.stop_after = stop_after

    def on_pre_optimizer_step(self, args, state, control, *, optimizer, **kwargs):
        self.seen.append([group["weight_decay"] for group in optimizer.param_groups])

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.stop_after:
            control.should_training_stop = control.should_save = True


@pytest.fixture
def trainer(tmp_path):
    """A `Trainer` over 12 made-up samples, with our groups or with its own."""

    def build(watch: Watch, own_groups: bool = True, **settings) -> Trainer:
        torch.manual_seed(0)
        model = Regression()
        data = [{"x": x, "y": x.sum(0, keepdim=True)} for x in torch.randn(12, 2)]
        arguments = TrainingArguments(
            tmp_path, max_steps=STEPS, per_device_train_batch_size=2, report_to="none", disable_tqdm=True,
            use_cpu=True, logging_strategy="no", save_strategy="no", seed=0, **settings,
        )  # fmt: skip
        optimizer = AdamW(param_groups(model, lr=0.1, weight_decay=INITIAL)) if own_groups else None
        callbacks = [AnnealingCallback(minimum=MINIMUM), watch]
        return Trainer(model, arguments, train_dataset=data, callbacks=callbacks, optimizers=(optimizer, None))

    return build


def _expected(step: int) -> float:
    return MINIMUM + (INITIAL - MINIMUM) * math.cos(math.pi * step / STEPS / 2) ** 2


def _check(seen: list[list[float]], steps: range) -> None:
    """One decayed group on the half cosine, one undecayed."""
    assert len(seen) == len(steps)
    for step, decays in zip(steps, seen, strict=True):
        assert sorted(decays) == pytest.approx([0.0, _expected(step)])


@pytest.mark.parametrize("accumulation", [1, 3])
def test_decay_follows_the_optimizer_steps_of_the_trainer(trainer, accumulation):
    watch = Watch()
    trainer(watch, gradient_accumulation_steps=accumulation).train()
    _check(watch.seen, range(STEPS))


def test_it_anneals_the_groups_that_the_trainer_makes_itself(trainer):
    watch = Watch()
    trainer(watch, own_groups=False, weight_decay=INITIAL).train()
    _check(watch.seen, range(STEPS))


@pytest.mark.parametrize("own_groups", [True, False])
def test_a_resumed_training_ends_with_the_same_weights(trainer, own_groups):
    settings = {} if own_groups else {"weight_decay": INITIAL}
    whole = trainer(Watch(), own_groups, **settings)
    whole.train()
    first = Watch(stop_after=2)
    trainer(first, own_groups, **settings).train()
    rest = Watch()
    resumed = trainer(rest, own_groups, **settings)
    resumed.train(resume_from_checkpoint=True)
    _check(first.seen + rest.seen, range(STEPS))
    weights = whole.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in resumed.model.state_dict().items())


class Classifier(nn.Module):
    """An adapted backbone with a head, as a plain module.

    Not `Dinov2ForImageClassification`: the `Trainer` of transformers 5.23 saves that under other names than it
    restores from, with or without an adapter (transformers issue 43701).
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = Dinov2Config(hidden_size=8, num_hidden_layers=3, num_attention_heads=2, image_size=8, patch_size=4)
        self.backbone = Dinov2Model(config)
        self.head = nn.Linear(8, 2)
        attach(self.backbone, MethodOptions(name="soma", rank=2))

    def forward(self, pixel_values, labels):
        """Cross-entropy, in a dict as the `Trainer` expects it."""
        logits = self.head(self.backbone(pixel_values).pooler_output)
        return {"loss": nn.functional.cross_entropy(logits, labels)}


def test_an_adapted_model_trains_and_resumes_in_the_trainer(tmp_path):
    torch.manual_seed(1)
    data = [{"pixel_values": torch.randn(3, 8, 8), "labels": i % 2} for i in range(4)]

    def train(folder: str, watch: Watch, resume: bool = False) -> Classifier:
        model = Classifier()
        optimizer = AdamW(param_groups(model, lr=0.1, weight_decay=INITIAL, backbone=model.backbone))
        arguments = TrainingArguments(
            tmp_path / folder, max_steps=4, per_device_train_batch_size=2, report_to="none", disable_tqdm=True,
            use_cpu=True, logging_strategy="no", save_strategy="no",
        )  # fmt: skip
        callbacks = [AnnealingCallback(minimum=MINIMUM), watch]
        run = Trainer(model, arguments, train_dataset=data, callbacks=callbacks, optimizers=(optimizer, None))
        run.train(resume_from_checkpoint=resume)
        return model

    start = Classifier()
    whole = train("whole", Watch())
    train("parts", Watch(stop_after=2))
    resumed = train("parts", Watch(), resume=True).state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed[name]), name
    trained = {name for name, p in start.named_parameters() if p.requires_grad}
    changed = {name for name, p in whole.state_dict().items() if not torch.equal(p, start.state_dict()[name])}
    assert {"head.weight", "head.bias"} < changed <= trained
    fold(whole)
    assert not [name for name in whole.state_dict() if "lora" in name]


def test_a_second_training_starts_again_from_the_initial_value(trainer):
    watch = Watch()
    run = trainer(watch)
    run.train()
    run.train()
    _check(watch.seen[STEPS:], range(STEPS))


def test_the_trainers_default_of_no_decay_is_an_error(trainer):
    with pytest.raises(ConfigError, match="the highest weight decay of the optimizer is 0, nothing to anneal to 0.01"):
        trainer(Watch(), own_groups=False).train()
