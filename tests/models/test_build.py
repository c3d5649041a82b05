import copy
from operator import attrgetter

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    Dinov2Backbone,
    UperNetForSemanticSegmentation,
)

from minorkey.adapters import attach
from minorkey.adapters.options import MethodOptions
from minorkey.errors import ModelError
from minorkey.models.backbone import load_backbone
from minorkey.models.build import backbone_of, head_state
from minorkey.models.heads.segmentation.linear import LinearHead
from minorkey.models.heads.segmentation.masks import MASK_MODELS, mask_targets
from minorkey.models.heads.segmentation.segformer import MlpForSemanticSegmentation, MlpSegmenterConfig
from minorkey.models.heads.segmentation.semfpn import SemanticFpnHead
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.models.segmenters import SEGMENTATION_HEADS
from minorkey.tasks.segmentation.task import Segmentation

CLASSES = 5
ALL = [*SEGMENTATION_HEADS.shipped]
PIXELS = ["linear", "semfpn", "segformer", "upernet"]  # logits for each pixel
MASKS = {"channels": 32, "queries": 6, "points": 50, "decoder_layers": 2, "encoder_layers": 1}


@pytest.fixture
def backbone(backbone_folder) -> Dinov2Backbone:
    return load_backbone(BackboneOptions(name=str(backbone_folder))).network


@pytest.fixture
def image():
    return torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def square():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def levels():
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.randn(2, 6, 16 // 2**i, 24 // 2**i, generator=generator) for i in range(4))


def _build(backbone, name, seed=0):
    options = {"channels": 8} if name in PIXELS else MASKS
    return Segmentation().build(backbone, HeadOptions(name=name, **options), CLASSES, seed).eval()


def _loss(model, image, labels):
    if not isinstance(model, MASK_MODELS):
        return model(pixel_values=image, labels=labels).loss
    masks, classes = mask_targets(labels, CLASSES)
    return model(pixel_values=image, mask_labels=masks, class_labels=classes).loss


def _up(x, like):
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def test_every_head_is_told_apart():
    assert {*PIXELS, "mask2former", "eomt"} == set(ALL)


@pytest.mark.parametrize("name", PIXELS)
@torch.no_grad()
def test_logits_have_the_size_of_the_image(backbone, image, name):
    assert _build(backbone, name)(pixel_values=image).logits.shape == (2, CLASSES, 48, 64)


@pytest.mark.parametrize("name", PIXELS)
@torch.no_grad()
def test_loss_is_the_cross_entropy_of_the_labelled_pixels(backbone, image, name):
    model = _build(backbone, name)
    labels = torch.randint(0, CLASSES, (2, 48, 64), generator=torch.Generator().manual_seed(3))
    labels[:, :20] = 255
    output = model(pixel_values=image, labels=labels)
    log_p = output.logits.log_softmax(1)[:, :, 20:]
    expected = -log_p.gather(1, labels[:, None, 20:]).mean()
    if name == "upernet":  # adds its auxiliary head's loss
        assert output.loss > expected
    else:
        torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize("name", ALL)
def test_gradient_reaches_head_and_adapters(backbone, square, name):
    model = _build(backbone, name).train()
    attached = attach(backbone_of(model), MethodOptions(name="lora", rank=2))
    labels = torch.randint(0, CLASSES, (2, 64, 64), generator=torch.Generator().manual_seed(3))
    labels[0] = 255  # an image without any label
    loss = _loss(model, square, labels)
    assert torch.isfinite(loss)
    loss.backward()
    head = {key: p for key, p in model.named_parameters() if key in head_state(model)}
    trained = attached.trained_parameters() | head
    assert len(trained) == sum(p.requires_grad for p in model.parameters())
    for key, parameter in trained.items():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_survives_saving(backbone, square, name, tmp_path):
    model = _build(backbone, name)
    model.save_pretrained(tmp_path)
    auto = AutoModelForSemanticSegmentation if name in PIXELS else AutoModelForUniversalSegmentation
    again = auto.from_pretrained(tmp_path).eval()
    assert type(again) is type(model)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    # Not bit for bit: weights mapped from a file lie unaligned in memory, and kernels may sum differently.
    read = attrgetter("logits" if name in PIXELS else "masks_queries_logits")
    torch.testing.assert_close(read(again(pixel_values=square)), read(model(pixel_values=square)))


def test_upernet_says_how_many_maps_it_reads(make_backbone):
    backbone = load_backbone(BackboneOptions(name=str(make_backbone("two")), out_blocks=[2, 4])).network
    with pytest.raises(ModelError, match="upernet reads 3 feature maps or more, the backbone gives 2"):
        Segmentation().build(backbone, HeadOptions(name="upernet", channels=8), 3, seed=0)


def test_upernet_is_that_of_transformers(backbone):
    assert type(_build(backbone, "upernet")) is UperNetForSemanticSegmentation


@torch.no_grad()
def test_linear_head_is_batch_norm_and_a_weighted_sum_of_channels(levels):
    head = LinearHead([6] * 4, CLASSES, dropout=0.0).eval()
    for buffer in (head.norm.running_mean, head.norm.running_var):
        buffer.uniform_(0.5, 2)
    stacked = torch.cat([_up(level, levels[0]) for level in levels], dim=1)
    column = (1, -1, 1, 1)
    normal = (stacked - head.norm.running_mean.view(column)) / (head.norm.running_var.view(column) + 1e-5).sqrt()
    expected = torch.einsum("kc,bchw->bkhw", head.classifier.weight[..., 0, 0], normal)
    torch.testing.assert_close(head(levels), expected + head.classifier.bias.view(column))


@torch.no_grad()
def test_segformer_head_is_a_sum_of_linear_maps(levels):
    config = MlpSegmenterConfig(channels=8, num_labels=CLASSES)
    head = MlpForSemanticSegmentation.build_head(config, [6] * 4).eval()
    fuse = head.linear_fuse.weight[..., 0, 0].split(8, dim=1)  # coarsest level first
    fused = torch.zeros(2, 8, 16, 24)
    for level, linear, weight in zip(levels, head.linear_projections, fuse[::-1], strict=True):
        mapped = torch.einsum("dc,bchw->bdhw", linear.proj.weight, level) + linear.proj.bias.view(1, -1, 1, 1)
        fused += torch.einsum("ed,bdhw->behw", weight, _up(mapped, levels[0]))
    torch.testing.assert_close(head(levels), head.classifier(F.relu(head.batch_norm(fused))))


@torch.no_grad()
def test_semantic_fpn_is_a_top_down_sum(levels):
    head = SemanticFpnHead([6] * 4, 8, CLASSES, dropout=0.0).eval()
    merged = head.laterals[3](levels[3])
    summed = torch.zeros(2, 8, 16, 24)
    for i in (3, 2, 1, 0):
        if i < 3:
            merged = head.laterals[i](levels[i]) + _up(merged, levels[i])
        convolution, norm, _ = head.outputs[i]
        output = F.relu(F.group_norm(convolution(merged), norm.num_groups, norm.weight, norm.bias))
        summed += _up(output, levels[0])
    torch.testing.assert_close(head(levels), head.classifier(summed))


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (8, 8), (48, 24), (37, 1)])
def test_groups_of_the_semantic_fpn_divide_its_channels(channels, groups):
    norm = SemanticFpnHead([6], channels, CLASSES, dropout=0.0).outputs[0][1]
    assert isinstance(norm, nn.GroupNorm)
    assert norm.num_groups == groups


@pytest.mark.parametrize("name", ALL)
def test_head_starts_from_the_seed_alone(backbone, name):
    states = []
    for noise, method in enumerate(("frozen", "soma", "dora", "norm")):
        torch.manual_seed(noise)
        torch.rand(noise)
        model = _build(copy.deepcopy(backbone), name, seed=3)
        attach(backbone_of(model), MethodOptions(name=method, rank=2), seed=3)
        states.append(head_state(model))
    assert all(torch.equal(value, other[key]) for other in states[1:] for key, value in states[0].items())
    assert states[0].keys() == states[-1].keys()
    different = head_state(_build(backbone, name, seed=4))
    assert any(not torch.equal(value, different[key]) for key, value in states[0].items())


def test_building_leaves_the_random_state_alone(backbone):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _build(backbone, "semfpn", seed=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("name", "place"), [("semfpn", "backbone.backbone."), ("mask2former", "model.pixel_level_module.encoder.backbone.")]
)
def test_pretrained_weights_are_still_in_the_model(backbone, name, place):
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    model = _build(backbone, name)
    assert backbone_of(model) is backbone
    inside = {key.removeprefix(place): v for key, v in model.state_dict().items() if key.startswith(place)}
    assert inside.keys() == before.keys()
    assert all(torch.equal(inside[key], value) for key, value in before.items())
    assert head_state(model).keys() == {key for key in model.state_dict() if not key.startswith(place)}


def test_tensors_of_semfpn_have_the_names_of_saved_runs(backbone):
    parts = [f"laterals.{level}.{kind}" for level in range(4) for kind in ("weight", "bias")]
    parts += [f"outputs.{level}.{part}" for level in range(4) for part in ("0.weight", "1.weight", "1.bias")]
    expected = {f"decode_head.{part}" for part in [*parts, "classifier.weight", "classifier.bias"]}
    assert head_state(_build(backbone, "semfpn")).keys() == expected
