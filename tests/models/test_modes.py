import pytest
import torch
from torch import nn
from transformers import ConvNextBackbone, ConvNextConfig, PPLCNetBackbone, PPLCNetConfig, SwinBackbone, SwinConfig

from minorkey.adapters import MethodOptions, attach
from minorkey.errors import ModelError
from minorkey.models.backbone import load_backbone
from minorkey.models.build import backbone_of
from minorkey.models.heads.segmentation.masks import mask_targets
from minorkey.models.modes import checkpoint_blocks
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.segmentation.task import Segmentation

SMALL = {"channels": 32, "queries": 4, "points": 50, "decoder_layers": 1, "encoder_layers": 1}
STAGES = ["stage1", "stage2", "stage3", "stage4"]


def _swin():
    config = SwinConfig(
        embed_dim=8, depths=[1, 1, 2, 1], num_heads=[2] * 4, image_size=64, window_size=2, out_features=STAGES
    )
    return SwinBackbone(config)


def _gradients(model, labels):
    masks, classes = mask_targets(labels, 3)
    named = {"labels": labels} if model.config.model_type.startswith("minorkey") else {}
    named = named or {"mask_labels": masks, "class_labels": classes}
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)  # of the sampled points and of stochastic depth
    model.zero_grad()
    model(pixel_values=image, **named).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("head", ["semfpn", "mask2former", "eomt", "swin"])
def test_gradients_are_the_same_and_blocks_are_computed_twice(backbone_folder, head):
    backbone = _swin() if head == "swin" else load_backbone(BackboneOptions(name=str(backbone_folder))).network
    name = "semfpn" if head == "swin" else head
    model = Segmentation().build(backbone, HeadOptions(name=name, **SMALL), 3, seed=0)
    attached = attach(backbone_of(model), MethodOptions(name="soma", rank=2, first_block=2))
    model.train()
    calls = []
    layer = backbone_of(model).get_submodule(attached.layers[0])
    layer.register_forward_hook(lambda *_: calls.append(1))
    labels = torch.randint(0, 3, (2, 64, 64), generator=torch.Generator().manual_seed(2))
    expected = _gradients(model, labels)
    checkpoint_blocks(model)
    gradients = _gradients(model, labels)
    assert len(calls) == 1 + 2
    assert gradients.keys() == expected.keys()
    assert all(any(part in name for name in gradients) for part in ("lora_A", "lora_B"))
    for name, value in expected.items():
        torch.testing.assert_close(gradients[name], value, rtol=1e-5, atol=1e-7, msg=name)


def test_statistics_of_a_batch_are_noted_once():
    config = PPLCNetConfig(scale=0.25, out_features=["stage2", "stage3", "stage4", "stage5"])
    seen = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        model = (
            Segmentation().build(PPLCNetBackbone(config), HeadOptions(name="semfpn", channels=16), 3, seed=0).train()
        )
        if checkpointed:
            checkpoint_blocks(model)
        gradients = _gradients(model, torch.zeros(2, 64, 64, dtype=torch.long))
        seen.append(gradients | dict(model.named_buffers()))
        assert {norm.momentum for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)} == {0.1}
    for name, value in seen[0].items():
        torch.testing.assert_close(seen[1][name], value, rtol=1e-5, atol=1e-7, msg=name)
    assert {int(value) for name, value in seen[1].items() if name.endswith("num_batches_tracked")} == {1}


def test_convolutional_backbones_are_refused():
    config = ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1] * 4, out_features=STAGES)
    model = Segmentation().build(ConvNextBackbone(config), HeadOptions(name="linear"), 3, seed=0)
    with pytest.raises(ModelError, match="blocks of ConvNextBackbone cannot be computed again .* take a ViT or Swin"):
        checkpoint_blocks(model)
