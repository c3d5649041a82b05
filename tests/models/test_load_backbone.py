import json
import shutil
from importlib.resources import files

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    BertConfig,
    BertModel,
    Dinov2Backbone,
    Dinov2Config,
    Dinov2Model,
    HieraBackbone,
    HieraConfig,
    PvtV2Backbone,
)

from minorkey.config import resolve
from minorkey.errors import ModelError
from minorkey.models.backbone import IMAGENET_MEAN, IMAGENET_STD, builtin_backbone, load_backbone
from minorkey.models.options import BackboneOptions


def _load(folder, **options):
    return load_backbone(BackboneOptions(name=str(folder), **options))


def _refused(name, **options) -> str:
    with pytest.raises(ModelError) as error:
        load_backbone(BackboneOptions(name=str(name), **options))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_weights_are_those_of_the_folder(backbone_folder):
    loaded = _load(backbone_folder).network.state_dict()
    expected = Dinov2Backbone.from_pretrained(backbone_folder).state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


def test_weights_in_half_precision_are_single_in_memory(backbone_folder, tmp_path):
    Dinov2Backbone.from_pretrained(backbone_folder).half().save_pretrained(tmp_path)
    network = _load(tmp_path).network
    assert {tensor.dtype for tensor in network.state_dict().values()} == {network.config.dtype} == {torch.float32}
    kept = Dinov2Backbone.from_pretrained(tmp_path, dtype=torch.float32).state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("blocks", "expected"), [(24, [8, 12, 16, 24]), (12, [4, 6, 8, 12]), (4, [1, 2, 3, 4]), (2, [1, 2])]
)
def test_features_come_from_a_third_half_two_thirds_and_the_end(make_backbone, blocks, expected):
    folder = make_backbone("deep", num_hidden_layers=blocks, hidden_size=8)
    config = _load(folder).network.config
    assert config.out_features == [f"stage{i}" for i in expected]
    assert not config.apply_layernorm


def test_blocks_can_be_chosen(backbone_folder):
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        chosen = _load(backbone_folder, out_blocks=[2, 4]).network(image).feature_maps
        every = _load(backbone_folder).network(image).feature_maps
    assert len(chosen) == 2
    assert torch.equal(chosen[0], every[1])
    assert torch.equal(chosen[1], every[3])


@pytest.mark.parametrize("blocks", [[0, 2], [3, 5], [3, 2], []])
def test_wrong_blocks_are_refused(backbone_folder, blocks):
    assert "expected ascending numbers from 1 to 4" in _refused(backbone_folder, out_blocks=blocks)


def test_patch_and_image_size_can_be_changed(backbone_folder):
    pretrained = Dinov2Backbone.from_pretrained(backbone_folder).state_dict()
    network = _load(backbone_folder, patch_size=16, image_size=160).network
    assert (network.config.patch_size, network.config.image_size) == (16, 160)
    kernel = "embeddings.patch_embeddings.projection.weight"
    expected = F.interpolate(pretrained[kernel], size=(16, 16), mode="bicubic", align_corners=False)
    assert torch.equal(network.state_dict()[kernel], expected)
    assert network.embeddings.position_embeddings.shape == (1, 1 + 100, 32)
    with torch.no_grad():
        assert network(torch.randn(1, 3, 160, 160)).feature_maps[0].shape == (1, 32, 10, 10)


def test_a_backbone_with_a_side_for_each_direction_is_resized_too(tmp_path):
    sizes = {"image_size": [64, 64], "depths": [1] * 4, "num_heads": [1] * 4, "embed_dim": 8}
    HieraBackbone(HieraConfig(**sizes)).save_pretrained(tmp_path)
    network = _load(tmp_path, image_size=128).network
    assert network.config.image_size == [128, 128]
    with torch.no_grad():
        assert network(torch.randn(1, 3, 128, 128)).feature_maps[0].shape == (1, 8, 32, 32)


def test_recipe_for_512_crops_in_small(make_backbone):
    """Patch 14 -> 16, positions interpolated to the crop, blocks 8, 12, 16, 24 of 24, no final norm: all at once."""
    folder = make_backbone("deep", num_hidden_layers=24, hidden_size=16, patch_size=14, image_size=70)
    preset = {"source": "world:clear", "backbone": {"name": str(folder), "patch_size": 16, "image_size": 96}}
    network = load_backbone(resolve(None, preset).backbone).network
    state = Dinov2Backbone.from_pretrained(folder).state_dict()
    kernel = "embeddings.patch_embeddings.projection.weight"
    state[kernel] = F.interpolate(state[kernel], size=(16, 16), mode="bicubic")
    position = state["embeddings.position_embeddings"]
    grid = F.interpolate(position[:, 1:].reshape(1, 5, 5, 16).permute(0, 3, 1, 2), size=(6, 6), mode="bicubic")
    state["embeddings.position_embeddings"] = torch.cat([position[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
    reference = Dinov2Model(Dinov2Config(**(network.config.to_dict() | {"out_features": None, "out_indices": None})))
    reference.load_state_dict(state)
    image = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = reference.eval()(image, output_hidden_states=True).hidden_states
        maps = network(image).feature_maps
    for block, feature_map in zip((8, 12, 16, 24), maps, strict=True):
        torch.testing.assert_close(feature_map.flatten(2).transpose(1, 2), hidden[block][:, 1:])


def test_same_sizes_change_nothing(backbone_folder):
    plain = _load(backbone_folder).network.state_dict()
    same = _load(backbone_folder, patch_size=8, image_size=64).network.state_dict()
    assert all(torch.equal(plain[name], same[name]) for name in plain)


def test_normalisation_is_the_backbones_own(backbone_folder, tmp_path):
    assert (_load(backbone_folder).mean, _load(backbone_folder).std) == (IMAGENET_MEAN, IMAGENET_STD)
    folder = shutil.copytree(backbone_folder, tmp_path / "own")
    values = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.1, 0.2, 0.3]}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    assert (_load(folder).mean, _load(folder).std) == ((0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    asked = _load(folder, mean=(0.5, 0.5, 0.5))
    assert (asked.mean, asked.std) == ((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))


def test_missing_folder(tmp_path):
    assert "not found: expected a hub id such as facebook/dinov2-base" in _refused(tmp_path / "nowhere")


def test_not_a_backbone(tmp_path):
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    BertModel(config).save_pretrained(tmp_path)
    assert "is a bert model, which transformers offers no backbone class for" in _refused(tmp_path)


def test_hub_id_while_offline():
    message = _refused("some-lab/not-downloaded-yet")
    assert "could not be loaded" in message
    assert "without network access give a local folder" in message


def test_folder_without_weights(backbone_folder, tmp_path):
    shutil.copy(backbone_folder / "config.json", tmp_path)
    message = _refused(tmp_path)
    assert "could not be loaded" in message
    assert "model.safetensors" in message


def test_weights_with_a_missing_tensor(backbone_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(backbone_folder, tmp_path / "torn")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "fc1.weight" in name)
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "lacks 1 weights of its backbone" in _refused(folder)


def test_damaged_weights(backbone_folder, tmp_path):
    folder = shutil.copytree(backbone_folder, tmp_path / "damaged")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert "could not be loaded" in _refused(folder)


def test_builtin_backbone_loads():
    if not (files("minorkey.models") / "builtin" / "config.json").is_file():
        pytest.skip("the built-in backbone has not been trained yet")
    network = load_backbone(BackboneOptions()).network
    with torch.no_grad():
        maps = network(torch.zeros(1, 3, 128, 128)).feature_maps
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 32, 32), (64, 16, 16), (128, 8, 8), (192, 4, 4)]
    assert all(torch.isfinite(m).all() for m in maps)


def test_builtin_backbone_is_stock_transformers_without_us():
    stock, ours = PvtV2Backbone.from_pretrained(builtin_backbone()), load_backbone(BackboneOptions()).network
    assert stock.dtype is torch.float32
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in stock.state_dict().items())
