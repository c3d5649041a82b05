"""Writes the backbone as transformers reads it, and the state of a run so that it can be resumed."""

import copy
import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

NORMALISATION = {
    "do_resize": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def save_backbone(backbone: PreTrainedModel, folder: Path, record: dict) -> None:
    """Write config, weights in half precision, normalisation and the `record`; every file is moved in whole."""
    draft = folder / "draft"
    copy.deepcopy(backbone).half().save_pretrained(draft)
    digest = hashlib.sha256((draft / "model.safetensors").read_bytes()).hexdigest()
    config = json.loads((draft / "config.json").read_text())
    contents = {
        "config.json": {**config, "dtype": "float32"},  # what transformers makes of the halves when it loads them
        "preprocessor_config.json": NORMALISATION,
        "pretraining.json": {**record, "sha256": digest},
    }
    for file, content in contents.items():
        (draft / file).write_text(json.dumps(content, indent=2) + "\n")
    for path in draft.iterdir():
        path.chmod(0o644)
        os.replace(path, folder / path.name)
    draft.rmdir()


def save_state(path: Path, tensors: dict[str, torch.Tensor], progress: dict) -> None:
    """Write a checkpoint beside its final name and move it there."""
    draft = path.with_suffix(".part")
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, draft, {"progress": json.dumps(progress)})
    os.replace(draft, path)


def restore(tensors: dict[str, torch.Tensor], path: Path) -> dict:
    """Copy a checkpoint into the tensors of a run, in place, and return its progress."""
    with safe_open(path, framework="pt") as file:
        for name, tensor in tensors.items():
            tensor.detach().copy_(file.get_tensor(name))
        return json.loads(file.metadata()["progress"])


def run_tensors(model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The tensors that a run goes on from, by name; views, so that copying into them restores the run."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment in ("exp_avg", "exp_avg_sq", "step"):
            tensors[f"{moment}.{name}"] = optimizer.state[parameter][moment]
    return tensors
