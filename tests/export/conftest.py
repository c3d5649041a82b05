"""Runs of tiny backbones, and a Python in which minorkey cannot be imported."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from transformers import (
    ConvNextBackbone,
    ConvNextConfig,
    EomtForUniversalSegmentation,
    PreTrainedModel,
    SwinBackbone,
    SwinConfig,
)
from transformers.backbone_utils import BackboneMixin

import minorkey
from minorkey.models.build import backbone_of
from minorkey.models.timm_backbone import TimmFeatures
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder

RUN_CARDS = """
import importlib.util
import os
import re
import sys

class NoMinorkey:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "minorkey":
            raise ImportError("minorkey is not installed here")

sys.meta_path.insert(0, NoMinorkey())

import torch
from safetensors.torch import load_file

if importlib.util.find_spec("torchvision_schemas"):
    import torchvision_schemas  # on the path in `make test-timm` alone

torch.set_num_threads(1)
torch.set_grad_enabled(False)

for folder in sys.argv[1:]:
    os.chdir(folder)
    (code,) = re.findall(r"```python\\n(.*?)```", open("README.md").read(), re.DOTALL)
    found = {}
    exec(code, found)
    expected = load_file("../expected.safetensors")
    image = expected.pop("image")
    outputs = {name: found[name].eval()(image) for name in ("model", "backbone") if hasattr(found.get(name), "config")}
    for key, wanted in expected.items():
        name, kind = key.split(".")
        if name in outputs:
            values = outputs[name].feature_maps[-1] if kind == "feature_maps" else outputs[name][kind]
            assert (values - wanted).abs().max() <= 1e-5 * wanted.abs().max(), (folder, key)
    print(*(type(found[name]).__name__ for name in ("model", "backbone") if name in found))
"""

OUTPUTS = ("logits", "masks_queries_logits", "class_queries_logits")

Hierarchical = {
    "swin": lambda: SwinBackbone(
        SwinConfig(embed_dim=16, depths=[1] * 4, num_heads=[2] * 4, image_size=64, window_size=2)
    ),
    "convnext": lambda: ConvNextBackbone(ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1] * 4)),
}


@pytest.fixture(scope="session")
def hierarchical(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a tiny hierarchical backbone: 'swin' or 'convnext'; every weight is random."""

    def write(kind: str) -> Path:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            backbone: PreTrainedModel = Hierarchical[kind]()
            for parameter in backbone.parameters():
                parameter.data.add_(0.05 * torch.randn_like(parameter))
        folder = tmp_path_factory.mktemp("hierarchical") / kind
        backbone.save_pretrained(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def trained(make_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunFolder]:
    """A training of two steps with changes to the tiny configuration."""

    def run(**changes: Any) -> RunFolder:
        folder = tmp_path_factory.mktemp("trained") / "run"
        changes = {"training": {"steps": 2}, "evaluation": {"pictures": 0}} | changes
        train(make_config(**changes), folder, console=Console(file=io.StringIO()))
        return RunFolder(folder)

    return run


@pytest.fixture(scope="session")
def run_cards(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """Run the Python of each export's README.md, all in one process without minorkey.

    What it loads has to compute what the `expected.safetensors` above the export says; the classes come back.
    """

    def run(*folders: Path) -> list[str]:
        modules = str(tmp_path_factory.mktemp("modules"))
        process = subprocess.run(
            [sys.executable, "-c", RUN_CARDS, *map(str, folders)],
            capture_output=True, text=True, check=False, env={**os.environ, "HF_MODULES_CACHE": modules},
        )  # fmt: skip
        assert process.returncode == 0, process.stderr[-3000:]
        return process.stdout.splitlines()

    return run


@pytest.fixture(scope="session")
def expect() -> Callable[[RunFolder, Path], None]:
    """Write into a folder what the model of a run computes of an image."""

    def write(run: RunFolder, folder: Path) -> None:
        model = minorkey.load(run.path, device="cpu").model
        size = (32, 32) if isinstance(model, EomtForUniversalSegmentation) else (61, 90)
        image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            output = model(image)
            tensors = {f"model.{name}": output[name] for name in OUTPUTS if name in output}
            if isinstance(backbone := backbone_of(model), BackboneMixin) and not isinstance(backbone, TimmFeatures):
                tensors["backbone.feature_maps"] = backbone(image).feature_maps[-1].contiguous()
        save_file({"image": image, **tensors}, folder / "expected.safetensors")

    return write
