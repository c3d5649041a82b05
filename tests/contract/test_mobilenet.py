"""What is particular to MobileNetV2 as it was published: it pads as TensorFlow does, by what it reads off a layer."""

import copy
from dataclasses import replace
from pathlib import Path

import torch
from families import FAMILIES
from peft import PeftModel
from transformers import MobileNetV2Config, MobileNetV2Model

from minorkey.adapters import SoMA, attach, fold, save_adapter, weights_sha256

PUBLISHED = replace(
    FAMILIES["mobilenetv2"],
    make=lambda: MobileNetV2Model(MobileNetV2Config(depth_multiplier=0.25, min_depth=8, tf_padding=True)),
)


@torch.no_grad()
def test_adapter_is_felt_and_folds_in(tmp_path: Path) -> None:
    network, inputs = PUBLISHED.build(), PUBLISHED.inputs()
    pretrained = copy.deepcopy(network)
    before = PUBLISHED.outputs(pretrained, inputs)
    attached = attach(network, SoMA(rank=2))
    torch.testing.assert_close(PUBLISHED.outputs(network, inputs), before, atol=1e-5, rtol=1e-5)
    for parameter in attached.trained_parameters().values():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    trained = PUBLISHED.outputs(network, inputs)
    assert (trained[-1] - before[-1]).abs().max() > 1e-3
    save_adapter(network, attached, tmp_path / "adapter", weights_sha256(pretrained))
    fold(network)
    torch.testing.assert_close(PUBLISHED.outputs(network, inputs), trained, atol=1e-5, rtol=1e-5)
    # Stock PEFT cannot run the network before it has merged the adapter.
    merged = PeftModel.from_pretrained(copy.deepcopy(pretrained), tmp_path / "adapter").merge_and_unload()
    torch.testing.assert_close(PUBLISHED.outputs(merged, inputs), trained, atol=1e-5, rtol=1e-5)
