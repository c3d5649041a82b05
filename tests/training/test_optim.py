import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.optim import SGD, AdamW
from transformers import Dinov2Backbone, Dinov2Config, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from minorkey.adapters import MethodOptions, attach
from minorkey.config import resolve
from minorkey.errors import ConfigError
from minorkey.models.backbone import load_backbone
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.training.optim import build_optimizer, lr_factor, param_groups, schedule
from minorkey.training.options import TrainingOptions

WEIGHT_BIAS = ("weight", "bias")


class Network(nn.Module):
    """One parameter of every kind that the groups tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"norm": nn.LayerNorm(4), "query": nn.Linear(4, 4), "frozen": nn.Linear(4, 4)})
        self.backbone.register_parameter("position_embeddings", nn.Parameter(torch.zeros(1, 2, 4)))
        self.backbone.register_parameter("cls_token", nn.Parameter(torch.zeros(1, 1, 4)))
        self.backbone["frozen"].requires_grad_(False)
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4), nn.BatchNorm2d(4))


def test_groups_hold_every_trained_parameter_once_with_its_rate_and_decay():
    network = Network()
    groups = param_groups(network, lr=0.3, backbone=network.backbone, backbone_lr=0.1)
    seen = {name: (g["lr"], g["weight_decay"]) for g in groups for name in g["names"]}
    assert seen == {
        "backbone.query.weight": (0.1, 0.05),
        "backbone.query.bias": (0.1, 0.05),
        "backbone.norm.weight": (0.1, 0.0),
        "backbone.norm.bias": (0.1, 0.0),
        "backbone.position_embeddings": (0.1, 0.0),
        "backbone.cls_token": (0.1, 0.0),
        "head.0.weight": (0.3, 0.05),
        "head.0.bias": (0.3, 0.05),
        **{f"head.{i}.{kind}": (0.3, 0.0) for i in (1, 2) for kind in WEIGHT_BIAS},
    }
    parameters = dict(network.named_parameters())
    for group in groups:
        assert all(parameters[n] is p for n, p in zip(group["names"], group["params"], strict=True))
        assert (group["initial_lr"], group["initial_weight_decay"]) == (group["lr"], group["weight_decay"])


def test_the_backbone_is_told_by_its_parameters_whatever_its_name():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    groups = param_groups(network, lr=0.3, backbone=network[0], backbone_lr=0.1)
    assert [(g["names"], g["lr"]) for g in groups] == [
        (["0.weight", "0.bias"], 0.1),
        (["1.weight", "1.bias"], 0.3),
    ]


def test_one_rate_where_no_other_is_given():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    (group,) = param_groups(network, lr=0.3)
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.3, 0.05, 4)
    assert {g["lr"] for g in param_groups(network, lr=0.3, backbone=network[0])} == {0.3}


def test_the_embeddings_and_norms_of_real_networks_are_not_decayed():
    config = Dinov2WithRegistersConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8, num_register_tokens=2
    )
    mask2former_queries = nn.ModuleDict({"queries_embedder": nn.Embedding(4, 8)})
    network = nn.ModuleDict({"vit": Dinov2WithRegistersModel(config), "decoder": mask2former_queries})
    undecayed = {n for g in param_groups(network, lr=1.0) if not g["weight_decay"] for n in g["names"]}
    block = "vit.encoder.layer.0"
    assert undecayed == {
        *(f"vit.embeddings.{name}" for name in ("cls_token", "mask_token", "register_tokens", "position_embeddings")),
        *(f"{norm}.{kind}" for norm in (f"{block}.norm1", f"{block}.norm2", "vit.layernorm") for kind in WEIGHT_BIAS),
        "decoder.queries_embedder.weight",
    }


def test_factors_are_decayed_and_frozen_weights_left_out():
    network = Dinov2Backbone(
        Dinov2Config(hidden_size=8, num_hidden_layers=3, num_attention_heads=2, image_size=16, patch_size=8)
    )
    attached = attach(network, MethodOptions(name="soma", rank=2))
    (group,) = param_groups(network, lr=1.0, backbone=network)
    assert set(group["names"]) == attached.trained_parameters().keys()
    assert group["weight_decay"] == 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone_lr": 0.1}, "backbone_lr is given without a backbone; say which part of the model it is for"),
        (
            {"backbone": nn.Linear(2, 3)},
            "the backbone (Linear) is no part of Sequential; give the module inside the model, not a copy",
        ),
    ],
)
def test_a_backbone_that_cannot_be_meant(settings, message):
    with pytest.raises(ConfigError) as error:
        param_groups(nn.Sequential(nn.Linear(2, 3)), lr=0.3, **settings)
    assert str(error.value) == message


def test_nothing_to_train():
    with pytest.raises(ConfigError) as error:
        param_groups(nn.Linear(2, 3).requires_grad_(False), lr=0.3)
    assert str(error.value) == (
        "nothing in Linear requires a gradient; attach a method that trains something, or keep a head trainable"
    )


@pytest.fixture
def segmenter(backbone_folder):
    backbone = load_backbone(BackboneOptions(name=str(backbone_folder))).network
    return Segmentation().build(backbone, HeadOptions(channels=8), num_labels=3, seed=0)


def test_rates_per_method(segmenter):
    options = TrainingOptions(lr=0.3, backbone_lr={"soma": 0.1, "full": 0.01})
    optimizer = build_optimizer(segmenter, options, "full")
    assert isinstance(optimizer, AdamW)
    assert {group["lr"] for group in optimizer.param_groups} == {0.3, 0.01}
    with pytest.raises(ConfigError, match="unknown method in training.backbone_lr 'lora'.* Known: full, soma"):
        build_optimizer(segmenter, options, "lora")


def test_a_frozen_backbone_needs_no_rate(segmenter):
    segmenter.backbone.requires_grad_(False)
    optimizer = build_optimizer(segmenter, TrainingOptions(backbone_lr={"soma": 0.1}), "frozen")
    assert all(name.startswith("decode_head.") for group in optimizer.param_groups for name in group["names"])


def _factors(**options):
    options = TrainingOptions(steps=10, **options)
    return [lr_factor(step, options) for step in range(10)]


def test_poly():
    factors = _factors(schedule="poly", power=0.9)
    assert factors[0] == 1
    assert factors[5] == pytest.approx(0.5**0.9)
    assert factors[9] == pytest.approx(0.1**0.9)


def test_cosine():
    factors = _factors(schedule="cosine")
    assert factors[0] == 1
    assert factors[5] == pytest.approx(0.5)
    assert factors[9] == pytest.approx((1 + math.cos(0.9 * math.pi)) / 2)


def test_poly_may_begin_when_the_warm_up_ends():
    """As in the released recipes of SoMA for Cityscapes -> ACDC, whose poly schedule counts from there."""
    expected = [0.25, 0.5, 0.75, 1, *((1 - step / 6) ** 0.9 for step in range(6))]
    assert _factors(schedule="poly", warmup=4, decay_from=4) == pytest.approx(expected)
    assert _factors(schedule="constant", decay_from=4) == [1] * 10
    assert _factors(schedule="poly", decay_from=10) == [1] * 10


def test_the_rate_of_a_recipe_is_reached():
    training = resolve("cityscapes_to_acdc").training
    assert lr_factor(10_000, training) == 1
    assert lr_factor(25_000, training) == pytest.approx(0.5**0.9)


def test_steps():
    expected = [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01]
    assert _factors(schedule="steps", milestones=[3, 6]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"schedule": "steps"}, "steps falls at training.milestones, and there are none"),
        (
            {"schedule": "cosine", "milestones": [3]},
            "milestones are of schedule steps, and training.schedule is cosine",
        ),
        ({"schedule": "steps", "milestones": [-3]}, "milestones.0.*greater than 0"),
    ],
)
def test_milestones_belong_to_steps(given, said):
    with pytest.raises(ValidationError, match=f"(?s){said}"):
        TrainingOptions(**given)


def test_warm_up_is_linear_and_multiplies_the_schedule():
    expected = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]
    assert _factors(schedule="constant", warmup=4) == pytest.approx(expected)
    assert _factors(schedule="cosine", warmup=4)[1] == pytest.approx(0.5 * (1 + math.cos(0.1 * math.pi)) / 2)


@pytest.mark.parametrize("anneal", [True, False])
def test_schedule_is_a_function_of_the_step_alone(anneal):
    options = TrainingOptions(steps=8, lr=0.4, backbone_lr=0.2, weight_decay=0.1, weight_decay_min=0.02)
    network = Network()
    groups = param_groups(network, lr=0.4, weight_decay=0.1, backbone=network.backbone, backbone_lr=0.2)
    optimizer = SGD(groups, lr=0.4)
    for step in (6, 0, 4):
        schedule(optimizer, step, options, anneal)
    rates = {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    decay = 0.06 if anneal else 0.1
    factor = 0.5**0.9
    assert {round(lr / factor, 9) for lr, _ in rates} == {0.4, 0.2}
    assert {round(value, 9) for _, value in rates} == {decay, 0.0}


def test_rates_must_be_positive():
    with pytest.raises(ValueError, match="backbone_lr must be above 0"):
        TrainingOptions(backbone_lr={"soma": 0.0})
