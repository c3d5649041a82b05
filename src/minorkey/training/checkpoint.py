"""Checkpoints: adapter-sized, written whole or not at all, enough to go on bit for bit.

Batches and dropout depend on (seed, step) alone, so there is no random state to save.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from minorkey.errors import AdapterError, StorageError
from minorkey.system.reading import read_json
from minorkey.system.storage import new_folder, read_tensors, write_json, write_tensors
from minorkey.training.sharding import laid_out_as

KEEP = 2
"""Checkpoints kept; the older one is there for when the newer cannot be read."""

PARTS = ("adapter", "head", "optimizer", "ema", "best", "regime")


@dataclass
class Checkpoint:
    """What a run needs to go on after `step` steps."""

    step: int
    seconds: float  # of training so far
    base_sha256: str  # of the pretrained backbone
    adapter: dict[str, Tensor] = field(default_factory=dict)
    head: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    ema: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)  # of the best step or, after the last, the teacher's
    regime: dict[str, Tensor] = field(default_factory=dict)
    best_step: int = 0
    best_score: float | None = None
    loss_scale: dict[str, Any] = field(default_factory=dict)  # of a run in fp16


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint as `step-<step>` below `folder` and drop those that are no longer kept.

    Raises:
        StorageError: it cannot be written; earlier checkpoints are untouched.
    """
    with new_folder(folder / f"step-{checkpoint.step:07d}") as new:
        for part in PARTS:
            write_tensors(new / f"{part}.safetensors", getattr(checkpoint, part))
        write_json(
            new / "state.json",
            {
                "step": checkpoint.step,
                "seconds": checkpoint.seconds,
                "base_sha256": checkpoint.base_sha256,
                "best_step": checkpoint.best_step,
                "best_score": checkpoint.best_score,
                "loss_scale": checkpoint.loss_scale,
            },
        )
    for old in checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints below `folder`, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / "state.json").is_file())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        StorageError: a file is missing or damaged.
    """
    try:
        state = read_json(path / "state.json", error=StorageError)
        parts: dict[str, Any] = {part: read_tensors(path / f"{part}.safetensors") for part in PARTS}
        return Checkpoint(**state, **parts)
    except (OSError, ValueError, TypeError, StorageError) as error:
        raise StorageError(
            f"cannot read checkpoint '{path}': {error}; remove it to go on from the one before"
        ) from error


def check_base(checkpoint: Checkpoint, base_sha256: str) -> None:
    """Refuse to go on from a checkpoint of other pretrained weights.

    Raises:
        AdapterError: the weights differ.
    """
    if checkpoint.base_sha256 != base_sha256:
        raise AdapterError(
            f"the checkpoint belongs to base weights {checkpoint.base_sha256[:12]}, but the backbone has "
            f"{base_sha256[:12]}; use the backbone that the run started with"
        )


def optimizer_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's tensors as `<parameter name>|<key>`; its groups must carry `names`."""
    return {
        f"{name}|{key}": value
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
        for key, value in optimizer.state[parameter].items()
    }


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Tensor]) -> None:
    """Restore what `optimizer_state` gave, each tensor where its parameter is (step counts if fused)."""
    by_parameter: dict[str, dict[str, Tensor]] = {}
    for full_name, value in state.items():
        name, key = full_name.rsplit("|", 1)
        by_parameter.setdefault(name, {})[key] = value
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            counted = parameter.device if group.get("fused") else "cpu"
            for key, value in by_parameter.get(name, {}).items():
                moved = value.to(counted, copy=True) if key == "step" else laid_out_as(value, parameter)
                optimizer.state[parameter][key] = moved
