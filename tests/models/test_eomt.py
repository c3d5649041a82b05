import pytest
import torch
from plain_vits import PLAIN_VITS, VIT
from transformers import (
    Dinov2Backbone,
    Dinov2Config,
    EomtForUniversalSegmentation,
    SwinBackbone,
    SwinConfig,
)

from minorkey.adapters import MethodOptions, attach
from minorkey.errors import ModelError
from minorkey.models.backbone import load_backbone
from minorkey.models.build import backbone_of, head_state
from minorkey.models.heads.segmentation.eomt import set_progress
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.segmentation.task import Segmentation


def _random(make):
    """A backbone with no weight at a special value."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = make().eval()
        for parameter in backbone.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return backbone


def _eomt(backbone, **options):
    return Segmentation().build(backbone, HeadOptions(name="eomt", queries=5, points=50, **options), 3, seed=0).eval()


@pytest.fixture(params=PLAIN_VITS)
def backbone(request):
    return _random(PLAIN_VITS[request.param])


@pytest.fixture
def image():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_tokens_are_those_of_the_backbone_before_the_queries_join(backbone, image):
    model = _eomt(backbone, query_blocks=1)
    seen = {}
    for name, block in (("first", model.layers[0]), ("last without queries", model.layers[2])):
        block.register_forward_hook(lambda _module, _inputs, output, name=name: seen.setdefault(name, output))
    model(pixel_values=image)
    expected = backbone(image, output_hidden_states=True).hidden_states
    torch.testing.assert_close(seen["first"], expected[1], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(seen["last without queries"], expected[3], rtol=1e-5, atol=1e-5)


def test_every_weight_of_the_backbone_is_taken(backbone):
    taken = sum(p.numel() for p in backbone_of(_eomt(backbone)).parameters())
    given = sum(p.numel() for name, p in backbone.named_parameters() if "mask_token" not in name)
    with_position = "dinov3" not in backbone.config.model_type  # the class token's position is in the token
    assert taken == given - 32 * with_position


def test_patch_and_image_size_are_those_of_the_loaded_backbone(backbone_folder, image):
    backbone = load_backbone(BackboneOptions(name=str(backbone_folder), patch_size=16, image_size=96)).network
    model = _eomt(backbone)
    assert model.embeddings.position_embeddings.weight.shape == (36, 32)
    assert torch.equal(model.embeddings.position_embeddings.weight, backbone.embeddings.position_embeddings[0, 1:])
    with torch.no_grad():
        assert model(pixel_values=torch.zeros(1, 3, 96, 96)).masks_queries_logits.shape == (1, 5, 24, 24)


def test_adapters_are_in_the_encoder_alone(backbone, image):
    model = _eomt(backbone)
    head = head_state(model)
    attached = attach(backbone_of(model), MethodOptions(name="soma", rank=2, first_block=1))
    assert {name.split(".")[0] for name in attached.layers} == {"layers"}
    assert {name.rpartition(".")[2] for name in attached.layers} >= {"q_proj", "k_proj", "v_proj"}
    assert any(name.endswith(("attention.o_proj", "attention.out_proj")) for name in attached.layers)
    assert head_state(model).keys() == head.keys()
    assert not any(name.startswith(("layers", "embeddings", "layernorm")) for name in head)


@pytest.mark.parametrize(("depth", "expected"), [(12, 3), (24, 4), (40, 5), (4, 1)])
def test_queries_join_as_late_as_in_the_paper(depth, expected):
    backbone = Dinov2Backbone(Dinov2Config(**{**VIT, "num_hidden_layers": depth, "hidden_size": 8}))
    assert _eomt(backbone).config.num_blocks == expected


def test_masked_attention_is_annealed_block_by_block():
    """The authors' steps on ADE20K: 39 120 in all, start 6520, 13 040 ..., end 13 040, 19 560 ..."""
    model = _eomt(_random(PLAIN_VITS["dinov2"]), query_blocks=4)
    assert not model.attn_mask_probs.any()  # as it is used
    for step, expected in (
        (0, [1, 1, 1, 1]),
        (6520, [1, 1, 1, 1]),
        (6520 + 1630, [0.75**0.9, 1, 1, 1]),
        (13040, [0, 1, 1, 1]),
        (26080 + 3260, [0, 0, 0, 0.5**0.9]),
        (39120, [0, 0, 0, 0]),
    ):
        set_progress(model, step / 39120)
        torch.testing.assert_close(model.attn_mask_probs, torch.tensor(expected, dtype=torch.float32))
    assert "attn_mask_probs" not in head_state(model)


def test_saved_model_is_stock_and_does_not_mask(image, tmp_path):
    model = _eomt(_random(PLAIN_VITS["dinov2"]))
    model.save_pretrained(tmp_path)
    again = EomtForUniversalSegmentation.from_pretrained(tmp_path).eval()
    assert not again.attn_mask_probs.any()
    with torch.no_grad():
        torch.testing.assert_close(again(image).masks_queries_logits, model(image).masks_queries_logits)


def test_other_sizes_are_refused(image):
    model = _eomt(_random(PLAIN_VITS["dinov2"]))
    with pytest.raises(ModelError, match="takes images of 32 x 32 pixels here, got 40 x 32; set transform.crop"):
        model(pixel_values=torch.zeros(1, 3, 40, 32))


def test_other_backbones_are_refused():
    swin = SwinBackbone(SwinConfig(embed_dim=8, depths=[1], num_heads=[1], image_size=32, window_size=2))
    with pytest.raises(ModelError, match="needs a DINOv2 or DINOv3 ViT backbone, got swin; take head mask2former"):
        _eomt(swin)
    with pytest.raises(ModelError, match=r"query_blocks is 5, the backbone has 4 blocks; set it to 1 ... 4"):
        _eomt(_random(PLAIN_VITS["dinov2"]), query_blocks=5)
