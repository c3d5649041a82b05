"""A pretrained network for other channels than red, green and blue."""

import pytest
import torch
from transformers import PvtV2Backbone, SwinBackbone, SwinConfig

from minorkey.adapters import MethodOptions, attach
from minorkey.errors import ModelError
from minorkey.models.backbone import load_backbone
from minorkey.models.build import backbone_of
from minorkey.models.channels import fitted_kernel, new_channels, trained_anyway
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.table import task_named

FIVE = ("blue", "green", "red", "nir", "swir")
IMAGES = torch.rand(2, 5, 64, 64, generator=torch.Generator().manual_seed(0))


def features(network, images):
    with torch.no_grad():
        return network(images).feature_maps


def same(actual, expected, **within):
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, **within)


@pytest.fixture(params=["dinov2", "builtin", "swin"])
def name(request, backbone_folder, tmp_path):
    """A plain ViT, a PVT v2 and a hierarchy whose first layer is called otherwise."""
    if request.param == "swin":
        torch.manual_seed(0)
        SwinBackbone(SwinConfig(image_size=64, embed_dim=8, depths=[1, 1], num_heads=[1, 2])).save_pretrained(tmp_path)
    return {"dinov2": str(backbone_folder), "builtin": "builtin", "swin": str(tmp_path)}[request.param]


def test_at_first_further_channels_change_nothing(name):
    rgb = load_backbone(BackboneOptions(name=name)).network
    five = load_backbone(BackboneOptions(name=name, channels=FIVE)).network
    assert type(five) is type(rgb)
    assert five.config.num_channels == 5
    same(features(five, IMAGES), features(rgb, IMAGES[:, [2, 1, 0]]))
    changed = IMAGES.clone()
    changed[:, 3:] = 7
    same(features(five, changed), features(five, IMAGES), rtol=0, atol=0)


@pytest.mark.parametrize("count", [1, 2])
def test_equal_channels_are_as_grey(name, count):
    rgb, few = (load_backbone(BackboneOptions(name=name, channels=channels)).network for channels in (3, count))
    grey = IMAGES[:, :1]
    same(features(few, grey.expand(-1, count, -1, -1)), features(rgb, grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_kernels_go_to_the_channels_of_their_names():
    kernel = torch.arange(3.0).reshape(1, 3, 1, 1) + 1  # red 1, green 2, blue 3
    placed = lambda *names: fitted_kernel(kernel, names).flatten().tolist()  # noqa: E731
    assert placed("nir", "red", "green") == [3, 1, 2]
    assert placed("vv", "vh", "ratio", "angle") == [1, 2, 3, 0]
    assert placed("red", "edge", "nir", "blue") == [1, 2, 0, 3]
    assert placed("grey") == [6]
    assert placed("vv", "vh") == [3, 3]
    assert new_channels(FIVE) == ["nir", "swir"]
    assert new_channels(["nir", "red", "green"]) == new_channels(["grey"]) == []


def test_normalisation_of_each_channel(backbone_folder):
    name = str(backbone_folder)
    grey = load_backbone(BackboneOptions(name=name, channels=1))
    assert grey.mean == pytest.approx([sum((0.485, 0.456, 0.406)) / 3])
    assert load_backbone(BackboneOptions(name=name, channels=["blue", "green", "red"])).mean == (0.406, 0.456, 0.485)
    with pytest.raises(ModelError, match=r"backbone\.mean has 2 numbers .* but there are 3 channels"):
        load_backbone(BackboneOptions(mean=[0.1, 0.2]))


@pytest.mark.parametrize("method", ["soma", "lora", "frozen", "norm", "bias", "full"])
def test_the_first_layer_trains_whatever_the_method(backbone_folder, method):
    network = load_backbone(BackboneOptions(name=str(backbone_folder), channels=FIVE)).network
    also = trained_anyway(network, FIVE)
    assert also == ("embeddings.patch_embeddings.projection.weight",)
    attached = attach(network, method, also=also)
    assert also[0] in attached.trained_tensors()
    network(IMAGES).feature_maps[-1].square().sum().backward()
    assert network.get_parameter(also[0]).grad[:, 3:].abs().min() > 0
    assert (
        trained_anyway(load_backbone(BackboneOptions(name=str(backbone_folder), channels=1)).network, ("grey",)) == ()
    )


def test_the_first_layer_is_adapted_where_it_is_asked_for(backbone_folder):
    network = load_backbone(BackboneOptions(name=str(backbone_folder), channels=FIVE)).network
    options = {"name": "lora", "layers": {"conv": ["patch_embeddings.projection"]}}
    attached = attach(network, MethodOptions(**options), also=trained_anyway(network, FIVE))
    assert "embeddings.patch_embeddings.projection" in attached.layers
    assert not network.get_parameter("embeddings.patch_embeddings.projection.base_layer.weight").requires_grad


@pytest.mark.parametrize(("task", "head"), [("segmentation", "eomt"), ("segmentation", "mask2former"),
                                            ("detection", "atss"), ("classification", "pooled")])  # fmt: skip
def test_heads_of_every_kind(backbone_folder, task, head):
    backbone = load_backbone(BackboneOptions(name=str(backbone_folder), channels=FIVE)).network
    model = task_named(task).build(backbone, HeadOptions(name=head, channels=32), 3, seed=0).eval()
    assert trained_anyway(backbone_of(model), FIVE)
    with torch.no_grad():
        model(pixel_values=IMAGES)


def test_pretrained_weights_stay_as_they_are():
    assert isinstance(load_backbone(BackboneOptions()).network, PvtV2Backbone)
    plain, said = (load_backbone(BackboneOptions(channels=channels)) for channels in (None, 3))
    assert plain.mean == said.mean
    same(features(said.network, IMAGES[:, :3]), features(plain.network, IMAGES[:, :3]), rtol=0, atol=0)
