"""Exports of timm backbones; run by `make test-timm` where timm is not installed."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import minorkey
from minorkey.export.run import export_run
from minorkey.models.backbone import load_backbone
from minorkey.models.build import backbone_of
from minorkey.models.options import BackboneOptions
from minorkey.system.run_folder import RunFolder

if find_spec("timm") is None:
    pytest.skip("timm is not installed here; run `make test-timm`", allow_module_level=True)

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 2}
ARCHITECTURE = "vit_large_patch14_clip_quickgelu_224"  # its weights and activation are not those of timm's default
MASKS = {"channels": 32, "queries": 6, "points": 50, "decoder_layers": 2, "encoder_layers": 1}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random weights in a folder, as timm publishes it."""
    import timm

    folder = tmp_path_factory.mktemp("timm") / "clip"
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(ARCHITECTURE, num_classes=7, **VIT)
        for parameter in network.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    save_file(dict(network.state_dict()), folder / "model.safetensors", {"format": "pt"})
    config = {
        "architecture": ARCHITECTURE,
        "num_classes": 7,
        "model_args": VIT,
        "pretrained_cfg": {
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "input_size": [3, 32, 32],
            "num_classes": 7,
            "classifier": "head",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module", params=["segformer", "mask2former"])
def run(request: pytest.FixtureRequest, trained: Callable[..., RunFolder], published: Path) -> RunFolder:
    head: dict[str, Any] = {"name": request.param, **(MASKS if request.param == "mask2former" else {"channels": 8})}
    return trained(backbone=str(published), head=head, method={"name": "soma", "rank": 2})


def test_the_whole_model_loads_without_minorkey(run: RunFolder, run_cards, expect, tmp_path: Path) -> None:
    expect(run, tmp_path)
    folder = export_run(run.path, "model", out=tmp_path / "out").folder
    assert (folder / "timm_backbone.py").is_file()
    (line,) = run_cards(folder)
    assert line.split()[1] == "VisionTransformer"


def test_the_backbone_alone_is_one_of_timm_and_of_minorkey(run: RunFolder, tmp_path: Path) -> None:
    import timm

    folder = export_run(run.path, "model", out=tmp_path / "out").folder / "backbone"
    adapted = backbone_of(minorkey.load(run.path, device="cpu").model)
    network = timm.create_model(f"local-dir:{folder}", pretrained=True, global_pool="")
    again = load_backbone(BackboneOptions(name=str(folder)))
    assert (again.mean, again.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    for got in (network.state_dict(), again.network.network.state_dict()):
        expected = adapted.network.state_dict()
        assert got.keys() == expected.keys()
        assert all(torch.equal(got[name], expected[name]) for name in got)
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again.network(image).feature_maps, adapted(image).feature_maps)


def test_stock_peft_puts_the_adapter_on_the_network_of_timm(run: RunFolder, published: Path) -> None:
    exported = export_run(run.path)
    assert f'base = "{published.name}"' in exported.code
    found: dict[str, Any] = {}
    exec(exported.code.replace(f'base = "{published.name}"', f"base = {str(published)!r}"), found)
    expected = backbone_of(minorkey.load(run.path, device="cpu").model).network.state_dict()
    got = found["backbone"].state_dict()
    assert got.keys() == expected.keys()
    for name, tensor in got.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)
