import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoBackbone,
    ConvNextBackbone,
    ConvNextConfig,
    Dinov2Backbone,
    Dinov2Config,
    HieraBackbone,
    HieraConfig,
    PvtV2Backbone,
    PvtV2Config,
    SwinBackbone,
    SwinConfig,
)

from minorkey.models.pyramid import PyramidBackbone, PyramidConfig

BLOCKS = ["stage1", "stage2", "stage3", "stage4"]


def _dinov2():
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, patch_size=8, image_size=32,
        out_features=BLOCKS, apply_layernorm=False,
    )  # fmt: skip
    return Dinov2Backbone(config)


def _swin():
    return SwinBackbone(
        SwinConfig(
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            image_size=64,
            window_size=2,
            out_features=BLOCKS,
        )
    )


def _convnext():
    return ConvNextBackbone(ConvNextConfig(hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], out_features=BLOCKS))


def _pvt():
    sizes = {"hidden_sizes": [8, 12, 16, 24], "depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2]}
    return PvtV2Backbone(PvtV2Config(**sizes, mlp_ratios=[2] * 4, out_features=BLOCKS))


@pytest.fixture(params=[_dinov2, _swin, _convnext, _pvt])
def bare(request):
    torch.manual_seed(0)
    return request.param().eval()


@pytest.fixture
def image():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_features_are_those_of_the_bare_backbone(bare, image):
    """Recording hooks installed a second time once gave the features of other blocks."""
    expected = bare(image).feature_maps
    actual = PyramidBackbone.around(bare, strides=None).eval()(image).feature_maps
    assert len(actual) == len(expected) == 4
    assert all(torch.equal(a, e) for a, e in zip(actual, expected, strict=True))
    assert not torch.equal(expected[2], expected[3])


@torch.no_grad()
def test_features_of_a_vit_are_the_outputs_of_its_blocks(image):
    backbone = _dinov2().eval()
    seen = []
    for block in backbone.encoder.layer:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    maps = PyramidBackbone.around(backbone, strides=None).eval()(image).feature_maps
    for tokens, feature_map in zip(seen, maps, strict=True):
        tokens = tokens[0] if isinstance(tokens, tuple) else tokens
        assert torch.equal(feature_map.flatten(2).transpose(1, 2), tokens[:, 1:])


@torch.no_grad()
def test_strides_are_bilinear_resizes(bare, image):
    native = bare(image).feature_maps
    maps = PyramidBackbone.around(bare, strides=[4, 8, 16, 32]).eval()(image).feature_maps
    for stride, before, after in zip((4, 8, 16, 32), native, maps, strict=True):
        size = (64 // stride, 96 // stride)
        assert after.shape[-2:] == size
        torch.testing.assert_close(after, F.interpolate(before, size=size, mode="bilinear", align_corners=False))


@torch.no_grad()
def test_odd_sizes_are_padded_at_the_right_and_bottom(image):
    pyramid = PyramidBackbone.around(_dinov2().eval(), strides=[4, 8, 16, 32]).eval()
    odd = image[..., :61, :90]
    maps = pyramid(odd).feature_maps
    assert [m.shape[-2:] for m in maps] == [(16, 23), (8, 12), (4, 6), (2, 3)]
    padded = pyramid.backbone(F.pad(odd, (0, 6, 0, 3))).feature_maps
    torch.testing.assert_close(maps[1], F.interpolate(padded[1], size=(8, 12), mode="bilinear"))


@pytest.mark.parametrize(("size", "padded"), [((28, 5), (29, 29)), ((29, 61), (29, 61))])
@torch.no_grad()
def test_a_pvt_sees_images_that_are_smaller_than_its_kernels(size, padded):
    pyramid = PyramidBackbone.around(_pvt().eval(), strides=None).eval()
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    whole = F.pad(image, (0, padded[1] - size[1], 0, padded[0] - size[0]))
    maps = zip(pyramid(image).feature_maps, pyramid.backbone(whole).feature_maps, strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in maps)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        pyramid.backbone(whole[..., :28, :])


@torch.no_grad()
def test_sides_are_multiples_of_the_stride_of_patches_that_overlap():
    sizes = {"image_size": [64, 64], "embed_dim": 8, "depths": [1] * 4, "num_heads": [1, 1, 2, 2]}
    backbone = HieraBackbone(HieraConfig(**sizes, out_features=["stage1", "stage4"])).eval()
    pyramid = PyramidBackbone.around(backbone, None)
    image = torch.randn(1, 3, 64, 64)
    for found, expected in zip(pyramid(image).feature_maps, backbone(image).feature_maps, strict=True):
        assert torch.equal(found, expected)


def test_survives_saving(bare, image, tmp_path):
    pyramid = PyramidBackbone.around(bare, strides=[4, 8, 16, 32]).eval()
    pyramid.save_pretrained(tmp_path)
    again = PyramidBackbone.from_pretrained(tmp_path).eval()
    assert all(torch.equal(a, b) for a, b in zip(pyramid(image).feature_maps, again(image).feature_maps, strict=True))


def test_is_a_backbone_of_transformers(bare):
    pyramid = PyramidBackbone.around(bare, strides=[4, 8, 16, 32])
    assert isinstance(AutoBackbone.from_config(pyramid.config), PyramidBackbone)
    assert list(pyramid.channels) == list(bare.channels)


def test_one_stride_per_feature_map():
    with pytest.raises(ValueError, match="3 strides for 4 feature maps"):
        PyramidConfig(backbone_config=_dinov2().config, strides=[4, 8, 16])
