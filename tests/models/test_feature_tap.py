import pytest
import torch
from plain_vits import PLAIN_VITS
from torch import nn
from transformers import ConvNextBackbone, ConvNextConfig, ResNetBackbone, ResNetConfig, SwinBackbone, SwinConfig

from minorkey.errors import ModelError
from minorkey.models.build import backbone_of
from minorkey.models.features import FeatureTap, features_alone
from minorkey.models.options import HeadOptions
from minorkey.models.segmenters import SEGMENTATION_HEADS
from minorkey.tasks.segmentation.task import Segmentation

STAGES = ["stage1", "stage2", "stage3", "stage4"]
SMALL = {"channels": 32, "queries": 4, "points": 50, "decoder_layers": 1, "encoder_layers": 1}
WIDTHS = [8, 12, 16, 24]


def _vit(name):
    backbone = PLAIN_VITS[name]()
    backbone.config.apply_layernorm = False
    backbone.out_features = STAGES
    return backbone


BACKBONES = {
    **{name: lambda name=name: _vit(name) for name in PLAIN_VITS},
    "swin": lambda: SwinBackbone(
        SwinConfig(
            embed_dim=8, depths=[1] * 4, num_heads=[2] * 4, image_size=64, window_size=2, out_features=STAGES
        )
    ),
    "convnext": lambda: ConvNextBackbone(ConvNextConfig(hidden_sizes=WIDTHS, depths=[1] * 4, out_features=STAGES)),
    "resnet": lambda: ResNetBackbone(
        ResNetConfig(embedding_size=8, hidden_sizes=[16, 24, 32, 40], depths=[1] * 4, out_features=STAGES)
    ),
}  # fmt: skip


@pytest.fixture
def image():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def square():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def _model(backbone, head="semfpn", **options):
    torch.manual_seed(0)
    return Segmentation().build(BACKBONES[backbone](), HeadOptions(name=head, **SMALL, **options), 3, seed=0).eval()


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("level", [0, 2, -1])
@torch.no_grad()
def test_it_is_a_feature_map_of_the_backbone(name, level, image):
    model = _model(name)
    with FeatureTap(model, level) as tap:
        model(pixel_values=image)
    assert torch.equal(tap.features, backbone_of(model)(image).feature_maps[level])
    assert tap.features.shape[1] == tap.channels


@pytest.mark.parametrize("name", ["swin", "convnext", "resnet"])
@torch.no_grad()
def test_the_default_is_stride_16(name, image):
    model = _model(name)
    with FeatureTap(model) as tap:
        model(pixel_values=image)
    assert tap.features.shape[-2:] == (4, 6)


@pytest.mark.parametrize("head", [*SEGMENTATION_HEADS.shipped])
def test_under_every_head_with_its_graph(head, square):
    model = _model("dinov2", head)
    with FeatureTap(model) as tap:
        model(pixel_values=square)
    assert tap.features.shape == (2, 32, 4, 4)
    assert tap.channels == 32
    tap.features.square().mean().backward()
    seen = {
        i
        for i in range(4)
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and (f"layer.{i}." in name or f"layers.{i}." in name)
    }
    assert seen == {0, 1, 2}  # the third of four blocks, and those before


@pytest.mark.parametrize("name", PLAIN_VITS)
@pytest.mark.parametrize(("level", "queries_from", "block"), [(2, 3, 3), (2, 2, 2), (-1, 3, 3), (0, 1, 1), (2, 0, 0)])
@torch.no_grad()
def test_of_an_eomt_it_is_the_tokens_before_the_queries_join(name, level, queries_from, block, square):
    model = _model(name, "eomt", query_blocks=4 - queries_from)
    with FeatureTap(model, level) as tap:
        model(pixel_values=square)
    tokens = BACKBONES[name]
    torch.manual_seed(0)
    tokens = tokens().eval()(square, output_hidden_states=True).hidden_states[block][:, -16:]
    for y in range(4):
        for x in range(4):
            torch.testing.assert_close(tap.features[:, :, y, x], tokens[:, 4 * y + x], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", ["semfpn", "mask2former", "eomt"])
@torch.no_grad()
def test_alone_they_are_the_same_and_the_head_does_not_run(head, square):
    model = _model("dinov2", head)
    with FeatureTap(model) as tap:
        model(pixel_values=square)
    finished = []
    model.register_forward_hook(lambda *_: finished.append(True))
    assert torch.equal(features_alone(model, square), tap.features)
    assert not finished
    model(pixel_values=square)
    assert finished, "the next pass runs to its end"


@pytest.mark.parametrize("head", ["semfpn", "eomt"])
@torch.no_grad()
def test_no_hook_stays_behind(head, square):
    model = _model("dinov2", head)
    before = [len(module._forward_hooks) for module in model.modules()]
    with FeatureTap(model) as tap:
        model(pixel_values=square)
    kept = tap.features
    model(pixel_values=square + 1)
    assert tap.features is kept
    with pytest.raises(RuntimeError), FeatureTap(model):
        raise RuntimeError
    assert [len(module._forward_hooks) for module in model.modules()] == before


@pytest.mark.parametrize("head", ["semfpn", "eomt"])
def test_of_a_network_wrapped_for_data_parallelism(head, square, tmp_path):
    model = _model("dinov2", head)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
        with FeatureTap(wrapped) as tap:
            wrapped(pixel_values=square)
    finally:
        torch.distributed.destroy_process_group()
    with FeatureTap(model) as bare:
        model(pixel_values=square)
    assert torch.equal(tap.features, bare.features)


@pytest.mark.parametrize(("head", "level"), [("semfpn", 4), ("eomt", -5)])
def test_a_level_that_there_is_not(head, level):
    with pytest.raises(ModelError, match=f"feature level {level} of a backbone with 4; take 0 ... 3, or -1"):
        FeatureTap(_model("dinov2", head), level)
