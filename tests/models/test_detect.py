import copy

import pytest
import torch
import transformers as hf
from transformers import AutoModelForObjectDetection

from minorkey.adapters import attach, fold
from minorkey.adapters.options import MethodOptions
from minorkey.errors import ModelError
from minorkey.models.backbone import load_backbone
from minorkey.models.build import backbone_of, head_state
from minorkey.models.detectors import DETECTION_HEADS, WIDTH
from minorkey.models.heads.detection.detr import DETECTORS, box_targets
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.detection.task import Detection
from minorkey.tasks.segmentation.task import Segmentation

CLASSES = 3
SMALL = {"channels": 32, "queries": 10, "encoder_layers": 1, "decoder_layers": 2}
STAGES = [f"stage{i}" for i in range(1, 5)]
NAMES = pytest.mark.parametrize("name", DETECTION_HEADS.shipped)
QUERY_HEADS = [name for name, spec in DETECTION_HEADS.shipped.items() if spec.decoding]

HIERARCHICAL = {
    "Swin": {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "image_size": 64, "window_size": 4},
    "ConvNext": {"hidden_sizes": [8, 12, 16, 16], "depths": [1, 1, 1, 1]},
    "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 24], "depths": [1, 1, 1, 1]},
}
"""Families of transformers, as stage 1 to 4 give maps of strides 4 to 32."""


@pytest.fixture
def backbone(backbone_folder):
    return load_backbone(BackboneOptions(name=str(backbone_folder))).network


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def targets():
    """An object in the first image and none in the second."""
    boxes = [torch.tensor([[8.0, 4, 40, 60]]), torch.zeros(0, 4)]
    return box_targets(boxes, [torch.tensor([2]), torch.zeros(0, dtype=torch.int64)], (64, 96))


def build(backbone, name, seed=0, **changes):
    return Detection().build(backbone, HeadOptions(name=name, **{**SMALL, **changes}), CLASSES, seed).eval()


def hierarchical(family, stages=STAGES):
    config = getattr(hf, f"{family}Config")(**HIERARCHICAL[family], out_features=stages)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(hf, f"{family}Backbone")(config).eval()


def said(model, images):
    with torch.no_grad():
        output = model(pixel_values=images)
    return output.logits, output.pred_boxes


@NAMES
def test_every_query_has_a_box_and_a_score_for_every_class(backbone, images, name):
    model = build(backbone, name)
    logits, boxes = said(model, images)
    assert isinstance(model, DETECTORS)
    assert (logits.shape, boxes.shape) == ((2, 10, CLASSES), (2, 10, 4))


@pytest.mark.parametrize("name", QUERY_HEADS)
def test_classes_are_unlikely_and_boxes_are_the_proposals_at_first(backbone, images, name):
    logits, boxes = said(build(backbone, name), images)
    assert 0.001 < logits.sigmoid().mean() < 0.1
    # Proposals are squares around the cells' middles: 0.05, 0.1, 0.2 or 0.4 of the image.
    sides = torch.tensor([0.05, 0.1, 0.2, 0.4])
    assert (boxes[..., 2:, None] - sides).abs().amin(-1).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "auxiliary"),
    [*((name, None) for name in DETECTION_HEADS.shipped), *((name, "atss") for name in QUERY_HEADS)],
)
def test_gradient_reaches_head_and_adapters(backbone, images, targets, name, auxiliary):
    model = build(backbone, name, auxiliary=auxiliary).train()
    attached = attach(backbone_of(model), MethodOptions(name="lora", rank=2))
    model(pixel_values=images, labels=targets).loss.backward()
    state = head_state(model)
    head = {key: p for key, p in model.named_parameters() if key in state and p.requires_grad}
    trained = attached.trained_parameters() | head
    assert len(trained) == sum(p.requires_grad for p in model.parameters())
    for key, parameter in trained.items():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@NAMES
@pytest.mark.parametrize("family", HIERARCHICAL)
def test_any_backbone_is_read_at_three_strides(images, targets, name, family):
    backbone = hierarchical(family)
    model = build(backbone, name).train()
    maps = backbone(images).feature_maps
    assert [(64 // level.shape[2], 96 // level.shape[3]) for level in maps] == [(8, 8), (16, 16), (32, 32)]
    model(pixel_values=images, labels=targets).loss.backward()
    alone = hierarchical(family, STAGES[1:])
    sum(level.sum() for level in alone(images).feature_maps).backward()
    unused = {p.shape for p in alone.parameters() if p.grad is None}  # the norm after Swin's last stage
    assert {p.shape for p in model.parameters() if p.requires_grad and p.grad is None} <= unused
    assert backbone_of(model) is backbone
    assert backbone.state_dict().keys() == alone.state_dict().keys()


@NAMES
def test_plain_vit_gives_its_last_three_maps(backbone, name):
    blocks = backbone.config.out_features
    model = build(backbone, name)
    assert backbone_of(model) is backbone
    assert backbone.config.out_features == blocks[1:]
    (pyramid,) = (module for module in model.modules() if type(module).__name__ == "PyramidBackbone")
    assert pyramid.config.strides == [8, 16, 32]


@NAMES
@pytest.mark.parametrize("family", [None, *HIERARCHICAL])
def test_survives_saving(backbone, images, name, family, tmp_path):
    model = build(hierarchical(family) if family else backbone, name)
    model.save_pretrained(tmp_path)
    again, info = AutoModelForObjectDetection.from_pretrained(tmp_path, output_loading_info=True)
    assert type(again) is type(model)
    assert not info["missing_keys"]
    for one, other in zip(said(again.eval(), images), said(model, images), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@NAMES
def test_adapter_folds_in(backbone, images, name):
    model = build(backbone, name)
    layers = [type(module) for module in model.modules()]
    attached = attach(backbone_of(model), MethodOptions(name="soma", rank=2))
    for parameter in attached.trained_parameters().values():
        parameter.data.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    before = said(model, images)
    fold(backbone_of(model))
    assert [type(module) for module in model.modules()] == layers
    for one, other in zip(said(model, images), before, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@NAMES
def test_head_starts_from_the_seed_alone(backbone, name):
    states = []
    for noise, method in enumerate(("frozen", "soma", "norm")):
        torch.manual_seed(noise)
        auxiliary = "atss" if name in QUERY_HEADS else None
        model = build(copy.deepcopy(backbone), name, seed=3, auxiliary=auxiliary)
        attach(backbone_of(model), MethodOptions(name=method, rank=2), seed=3)
        states.append(head_state(model))
    assert all(torch.equal(value, other[key]) for other in states[1:] for key, value in states[0].items())
    assert states[0].keys() == states[-1].keys()
    different = head_state(build(backbone, name, seed=4))
    assert any(not torch.equal(value, states[0][key]) for key, value in different.items())


@NAMES
def test_building_leaves_the_random_state_alone(backbone, name):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(backbone, name, seed=1)
    assert torch.equal(torch.rand(3), expected)


@NAMES
def test_head_state_holds_everything_else_once(backbone, images, name):
    model = build(backbone, name)
    state = head_state(model)
    inside = {id(p) for p in backbone.parameters()}
    assert {key for key, p in model.named_parameters() if id(p) not in inside} <= state.keys()
    assert len({value.data_ptr() for value in state.values() if value.numel()}) == len(state)
    other = build(backbone, name, seed=1)
    missing = other.load_state_dict(state, strict=False).missing_keys
    assert all(key.startswith(("class_embed", "bbox_embed", "model.backbone.", "backbone.")) for key in missing)
    for one, expected in zip(said(other, images), said(model, images), strict=True):
        torch.testing.assert_close(one, expected)


@NAMES
def test_trains_after_it_has_predicted_in_inference_mode(backbone, images, targets, name):
    model = build(backbone, name)
    with torch.inference_mode():
        model(pixel_values=images)
    model.train()(pixel_values=images, labels=targets).loss.backward()
    head = head_state(model).keys()
    gradients = [p.grad for key, p in model.named_parameters() if key in head and p.requires_grad]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_defaults_are_the_papers(backbone):
    expected = {"deformable_detr": (6, 6), "rt_detr_v2": (1, 6), "d_fine": (1, 6)}
    for name, (encoder, decoder) in expected.items():
        config = Detection().build(copy.deepcopy(backbone), HeadOptions(name=name, channels=32), CLASSES, seed=0).config
        assert (config.encoder_layers, config.decoder_layers) == (encoder, decoder)
        assert (config.num_queries, config.encoder_ffn_dim, config.decoder_ffn_dim) == (300, 128, 128)
    assert WIDTH == 256


@pytest.mark.parametrize("name", QUERY_HEADS)
def test_width_must_divide_into_groups(backbone, name):
    with pytest.raises(ModelError, match=f"head.channels is 100; {name} takes a multiple of 32, as a rule 256"):
        build(backbone, name, channels=100)


@pytest.mark.parametrize("name", ["rt_detr_v2", "d_fine"])
def test_a_single_layer_is_refused_where_transformers_cannot_have_it(backbone, name):
    with pytest.raises(ModelError, match=f"head.decoder_layers is 1; {name} takes 2 or more, as a rule 6"):
        build(backbone, name, decoder_layers=1)


@NAMES
def test_three_feature_maps_are_needed(backbone_folder, name):
    backbone = load_backbone(BackboneOptions(name=str(backbone_folder), out_blocks=[2, 4])).network
    with pytest.raises(ModelError, match=f"{name} reads 3 feature maps, the backbone gives 2; set backbone.out_blocks"):
        build(backbone, name)


@pytest.mark.parametrize("name", QUERY_HEADS)
def test_levels_are_for_atss(backbone, name):
    with pytest.raises(ModelError, match=f"head.levels is for atss; {name} reads 3 feature maps, leave it out"):
        build(backbone, name, levels=4)


def test_heads_of_the_other_task_are_refused(backbone):
    with pytest.raises(ModelError, match="head.name for detection: unknown head 'semfpn'.* Known: atss, d_fine"):
        build(backbone, "semfpn")
    with pytest.raises(ModelError, match="head.name for segmentation: unknown head 'd_fine'.* Known: eomt, linear"):
        Segmentation().build(backbone, HeadOptions(name="d_fine"), CLASSES, seed=0)
