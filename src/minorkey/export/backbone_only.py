"""The adapted backbone alone, in `backbone/` of an export: as its own library builds, saves and loads it."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from minorkey.export.trained import Trained
from minorkey.models.quiet import quiet_libraries
from minorkey.models.timm_backbone import TimmFeatures
from minorkey.system.storage import write_json, write_tensors

FOLDER = "backbone"
STOCK_CODE = """
from transformers import {kind}

backbone = {kind}.from_pretrained(folder, subfolder="backbone").eval()  # without the head
"""
TIMM_CODE = """
import timm

# without the head; a folder, not a hub id
backbone = timm.create_model(f"local-dir:{folder}/backbone", pretrained=True, global_pool="").eval()
"""


def write_backbone(trained: Trained, folder: Path) -> str:
    """Write the folded backbone to `folder` / `FOLDER`; one that the model holds is inside it, and is not written.

    Returns:
        Python that loads it from the variable `folder`; empty where nothing is written.
    """
    backbone = trained.backbone
    if trained.head.holds_backbone:
        return ""
    if isinstance(backbone, TimmFeatures):
        _write_timm(backbone, folder / FOLDER)
        return TIMM_CODE
    assert isinstance(backbone, PreTrainedModel)
    with quiet_libraries():
        backbone.save_pretrained(folder / FOLDER)
    return STOCK_CODE.format(kind=type(backbone).__name__)


def timm_settings(backbone: TimmFeatures) -> dict[str, Any]:
    """What `timm.create_model` is told beside the architecture, for a network without pooling and classifier."""
    config = backbone.config
    sizes = {"img_size": config.image_size, "patch_size": config.patch_size}
    return (config.settings or {}) | {name: size for name, size in sizes.items() if size}


def _write_timm(backbone: TimmFeatures, folder: Path) -> None:
    """A folder as timm writes it, which minorkey takes as a backbone too."""
    config, side = backbone.config, backbone.config.image_size or 224
    write_tensors(folder / "model.safetensors", backbone.network.state_dict(), {"format": "pt"})
    content = {
        "architecture": config.architecture,
        "num_classes": 0,
        "model_args": timm_settings(backbone),
        "pretrained_cfg": {
            "mean": config.image_mean,
            "std": config.image_std,
            "input_size": [3, side, side],
            "num_classes": 0,
        },
    }
    write_json(folder / "config.json", content)
