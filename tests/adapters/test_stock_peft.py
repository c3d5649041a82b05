"""A saved adapter in the hands of somebody who has transformers and PEFT, and nothing of ours."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from minorkey.adapters.attach import attach
from minorkey.adapters.convert import save_adapter
from minorkey.adapters.fingerprint import weights_sha256
from minorkey.adapters.options import MethodOptions

Train = Callable[[nn.Module], None]

STOCK = """
import sys
from pathlib import Path

import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file

torch.set_num_threads(1)


@torch.no_grad()
def difference(backbone, expected):
    last = backbone(expected["image"]).feature_maps[-1]
    return (last - expected["last"]).abs().max() / expected["last"].abs().max()


for adapter in map(Path, sys.argv[1:]):
    base = adapter.parent / "base"
    kind = getattr(transformers, transformers.AutoConfig.from_pretrained(base).architectures[0])
    backbone = kind.from_pretrained(base).eval()
    keys = list(backbone.state_dict())
    expected = load_file(adapter / "expected.safetensors")
    assert difference(backbone, expected) > 1e-3, f"{adapter}: training must have changed something"
    adapted = PeftModel.from_pretrained(backbone, adapter).eval()
    assert difference(adapted, expected) <= 1e-4, adapter
    merged = adapted.merge_and_unload()
    assert type(merged) is kind, adapter
    assert list(merged.state_dict()) == keys, adapter
    assert difference(merged, expected) <= 1e-4, adapter
assert "minorkey" not in sys.modules
print("same features")
"""


def _save_methods(backbone: nn.Module, train: Train, image: Tensor, folder: Path) -> list[str]:
    """Save the backbone as it is, and an adapter per method with the features it must give."""
    backbone.save_pretrained(folder / "base")
    for name in ("soma", "lora", "pissa"):
        adapted = copy.deepcopy(backbone)
        attached = attach(adapted, MethodOptions(name=name, rank=4, alpha=8.0, train_bias=name != "lora"))
        train(adapted)
        save_adapter(adapted, attached, folder / name, weights_sha256(backbone))
        with torch.no_grad():
            last = adapted(image).feature_maps[-1].contiguous()
        save_file({"image": image, "last": last}, folder / name / "expected.safetensors")
    return [str(folder / name) for name in ("soma", "lora", "pissa")]


def _load_with_stock_peft(adapters: list[str], cwd: Path) -> None:
    command = [sys.executable, "-c", STOCK, *adapters]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert run.stdout.strip() == "same features", run.stderr[-2000:]


@pytest.mark.thorough
def test_saved_adapters_load_where_minorkey_is_not(tiny, train, image, tmp_path: Path) -> None:
    adapters = []
    for architecture in ("dinov2", "dinov2_gated", "beit", "swin", "convnext"):
        adapters += _save_methods(tiny(architecture), train, image, tmp_path / architecture)
    _load_with_stock_peft(adapters, tmp_path)


@pytest.mark.thorough
@pytest.mark.parametrize("backbone", ["vit-tiny"], indirect=True)
def test_saved_adapters_of_a_real_backbone_load_where_minorkey_is_not(backbone, train, image, tmp_path: Path) -> None:
    _load_with_stock_peft(_save_methods(backbone, train, image, tmp_path), tmp_path)
