"""Adapters of models whose layers have other names than the pretrained backbone's."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from plain_vits import PLAIN_VITS
from torch import Tensor, nn
from transformers import (
    Dinov2Backbone,
    PreTrainedModel,
)

import minorkey
from minorkey.adapters import fold, load_adapter
from minorkey.export.run import export_run
from minorkey.models.build import backbone_of
from minorkey.models.heads.segmentation.eomt import encoder_state, layers_in_eomt
from minorkey.models.options import HeadOptions
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.segmentation.task import Segmentation


@pytest.mark.parametrize("family", PLAIN_VITS)
def test_every_layer_that_an_adapter_can_be_on_is_found(family: str) -> None:
    base: PreTrainedModel = PLAIN_VITS[family]()
    trained = backbone_of(Segmentation().build(base, HeadOptions(name="eomt", queries=2, points=9), 3, seed=0))
    layers = layers_in_eomt(base)
    adaptable = [n for n, m in trained.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.LayerNorm))]
    assert len(adaptable) > 4 * 8
    for name in adaptable:
        ours, theirs = trained.get_submodule(name), base.get_submodule(layers[name])
        assert type(ours) is type(theirs)
        assert torch.equal(ours.weight, theirs.weight), name  # random, so that no two are alike but of norms
    assert len({layers[name] for name in adaptable}) == len(adaptable)


def folded(run: RunFolder) -> dict[str, Tensor]:
    return backbone_of(minorkey.load(run.path, device="cpu").model).state_dict()


METHODS = {
    "soma": {"name": "soma", "rank": 2},
    "dora": {"name": "dora", "rank": 2, "rank_ramp": {3: 5}, "train_bias": True},
    "norm": {"name": "norm"},
}


@pytest.mark.parametrize("method", METHODS)
def test_stock_peft_puts_an_eomt_adapter_on_the_stock_backbone(
    method: str, trained: Callable[..., RunFolder], backbone_folder: Path
) -> None:
    run = trained(
        head={"name": "eomt", "queries": 3, "points": 50},
        backbone=str(backbone_folder),
        method=METHODS[method],
        transform={"crop": [64, 64]},
        evaluation={"pictures": 0, "window": [64, 64]},
        world={"size": [128, 64], "train_count": 2, "eval_count": 1},
    )
    exported = export_run(run.path)
    found: dict[str, object] = {}
    exec(exported.code.replace(f'"{backbone_folder.name}"', repr(str(backbone_folder))), found)
    expected = folded(run)
    base = Dinov2Backbone.from_pretrained(backbone_folder)
    load_adapter(base, exported.folder)
    fold(base)
    for backbone in (found["backbone"], base):
        assert type(backbone) is Dinov2Backbone
        got = encoder_state(backbone)
        assert got.keys() == expected.keys()
        for name, tensor in got.items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)
    untouched = encoder_state(Dinov2Backbone.from_pretrained(backbone_folder))
    assert not all(torch.allclose(expected[name], untouched[name], rtol=0, atol=1e-4) for name in expected)
