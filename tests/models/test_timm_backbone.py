"""timm's networks as backbones; run by `make test-timm` where timm is not installed."""

import json
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForSemanticSegmentation

from minorkey.adapters import MethodOptions, attach, fold
from minorkey.errors import ModelError
from minorkey.models.backbone import load_backbone
from minorkey.models.build import backbone_of
from minorkey.models.modes import checkpoint_blocks
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.models.timm_backbone import TimmFeaturesConfig, create_network
from minorkey.tasks.segmentation.task import Segmentation

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 2}
NETWORKS = {
    "eva02_large_patch14_224": VIT,
    "vit_large_patch14_clip_quickgelu_224": VIT,
    "samvit_base_patch16": {**VIT, "window_size": 2, "global_attn_indexes": [1]},
    "swin_tiny_patch4_window7_224": {
        "img_size": 64, "embed_dim": 16, "depths": [1] * 4, "num_heads": [2] * 4, "window_size": 2,
    },
    "resnet50": {"layers": [1] * 4, "channels": [4, 8, 8, 8], "stem_width": 4},
}  # fmt: skip

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed here; run `make test-timm`")


@pytest.fixture(params=NETWORKS)
def saved(request, tmp_path):
    """A network of timm, and the folder that it lies in as timm publishes it."""
    import timm

    settings = NETWORKS[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(request.param, num_classes=7, **settings).eval()
        for parameter in network.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    save_file(dict(network.state_dict()), tmp_path / "model.safetensors", {"format": "pt"})
    _write_config(tmp_path, request.param, settings)
    return network, tmp_path


def _write_config(folder, architecture, settings):
    config = {
        "architecture": architecture,
        "num_classes": 7,
        "model_args": settings,
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 32, 32]},
    }
    (folder / "config.json").write_text(json.dumps(config))


def _image(height=64, width=64):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@needs_timm
@torch.no_grad()
def test_other_channels(saved):
    """Further channels change nothing at first, and equal ones are as grey."""
    _, folder = saved
    rgb, four, two = (load_backbone(BackboneOptions(name=str(folder), channels=count)).network for count in (3, 4, 2))
    side = 64 if "swin" in rgb.config.architecture else 32
    image = _image(side, side)
    more = four(torch.cat([image, 7 * image[:, :1]], 1)).feature_maps
    few, grey = two(image[:, :1].expand(-1, 2, -1, -1)).feature_maps, image[:, :1].expand(-1, 3, -1, -1)
    for actual, expected in zip([*more, *few], [*rgb(image).feature_maps, *rgb(grey).feature_maps], strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@needs_timm
@torch.no_grad()
def test_features_are_those_of_timm(saved):
    network, folder = saved
    loaded = load_backbone(BackboneOptions(name=str(folder)))
    assert (loaded.mean, loaded.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    side = 64 if "swin" in loaded.network.config.architecture else 32
    first = 1 if "stem" in loaded.network.config.stage_names else 0
    expected = network.forward_intermediates(
        _image(side, side), indices=[first + i for i in range(4)], intermediates_only=True
    )
    maps = loaded.network(_image(side, side)).feature_maps
    for one, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(one, other)


@needs_timm
def test_segmenter_with_adapters_of_any_image_size(saved):
    _, folder = saved
    model = (
        Segmentation()
        .build(
            load_backbone(BackboneOptions(name=str(folder))).network, HeadOptions(name="semfpn", channels=8), 3, seed=0
        )
        .eval()
    )
    with torch.no_grad():
        before = model(_image(61, 75)).logits
    attached = attach(backbone_of(model), MethodOptions(name="soma", rank=2))
    output = model(_image(61, 75), labels=torch.zeros(2, 61, 75, dtype=torch.long))
    assert output.logits.shape == (2, 3, 61, 75)
    torch.testing.assert_close(output.logits, before, rtol=1e-4, atol=1e-4)
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in attached.trained_parameters().values())
    fold(backbone_of(model))
    torch.testing.assert_close(model(_image(61, 75)).logits, before, rtol=1e-4, atol=1e-4)


@needs_timm
@torch.no_grad()
def test_segmenter_survives_saving(saved, tmp_path):
    _, folder = saved
    model = (
        Segmentation()
        .build(load_backbone(BackboneOptions(name=str(folder))).network, HeadOptions(name="linear"), 3, seed=0)
        .eval()
    )
    model.save_pretrained(tmp_path / "segmenter")
    again = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "segmenter").eval()
    torch.testing.assert_close(again(_image()).logits, model(_image()).logits)


@needs_timm
@pytest.mark.parametrize("saved", ["eva02_large_patch14_224", "vit_large_patch14_clip_quickgelu_224"], indirect=True)
@torch.no_grad()
def test_patch_and_image_size_can_be_changed(saved):
    network, folder = saved
    resized = load_backbone(BackboneOptions(name=str(folder), patch_size=16, image_size=96)).network
    assert resized.network.pos_embed.shape == (1, 1 + 36, 24)
    assert resized.network.patch_embed.proj.weight.shape[-2:] == (16, 16)
    assert [m.shape[-2:] for m in resized(_image(96, 96)).feature_maps] == [(6, 6)] * 4
    block = resized.network.blocks[3].state_dict()
    assert all(torch.equal(block[name], value) for name, value in network.blocks[3].state_dict().items())


@needs_timm
@pytest.mark.parametrize("saved", ["eva02_large_patch14_224", "samvit_base_patch16"], indirect=True)
def test_blocks_can_be_computed_again(saved):
    _, folder = saved
    model = (
        Segmentation()
        .build(
            load_backbone(BackboneOptions(name=str(folder))).network, HeadOptions(name="semfpn", channels=8), 3, seed=0
        )
        .train()
    )
    attached = attach(backbone_of(model), MethodOptions(name="soma", rank=2, first_block=2))

    def gradients():
        model.zero_grad()
        torch.manual_seed(0)
        model(_image(), labels=torch.zeros(2, 64, 64, dtype=torch.long)).loss.backward()
        return {name: p.grad.clone() for name, p in attached.trained_parameters().items()}

    expected = gradients()
    checkpoint_blocks(model)
    for name, value in gradients().items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed here")
def test_without_timm(tmp_path):
    _write_config(tmp_path, "eva02_large_patch14_224", VIT)
    with pytest.raises(ModelError, match=r"is one of timm: pip install 'minorkey\[timm\]'"):
        load_backbone(BackboneOptions(name=str(tmp_path)))


@needs_timm
def test_architecture_that_timm_does_not_have(tmp_path):
    _write_config(tmp_path, "eva03_large", VIT)
    with pytest.raises(ModelError, match="has no network 'eva03_large'"):
        load_backbone(BackboneOptions(name=str(tmp_path)))


@needs_timm
@pytest.mark.parametrize("setting", [{"checkpoint_path": "gone.pth"}, {"pretrained": True}])
def test_settings_of_a_file_load_no_weights(setting):
    config = TimmFeaturesConfig(architecture="resnet10t", settings=setting)
    assert create_network(config).num_classes == 0
