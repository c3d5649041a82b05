"""Checkpoints: adapter-sized, written whole or not at all, enough to go on bit for bit.

Batches and dropout depend on (seed, step) alone, so there is no random state to save.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from minorkey.adapters.attached import OTHER
from minorkey.errors import AdapterError, StorageError
from minorkey.system.sealed import read_sealed, write_sealed
from minorkey.system.storage import new_folder, read_tensors, recover, remove_folder, write_tensors
from minorkey.system.tensors import check_shape, is_finite
from minorkey.training.sharding import laid_out_as

KEEP = 2
"""Checkpoints kept; the older one is there for when the newer cannot be read."""

PARTS = ("adapter", "head", "optimizer", "ema", "best", "regime")

STATE = "state.json"
"""Written last, with the checksums of the parts: what lacks it is no checkpoint."""

NAME = re.compile(r"step-(\d{7,})")
LEFT = re.compile(r"\.(step-\d{7,})\.(partial|old|gone)")
"""What a killed process may leave of a checkpoint that it wrote, replaced or removed."""


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
    config: Mapping[str, Any] = field(default_factory=dict)  # of the run, as saved; empty: of an earlier version
    log_size: int = 0  # bytes of the log by then
    log_sha256: str = ""  # of these; empty: of an earlier version, or there was no log
    peak_memory_mb: float = 0.0  # of training so far; 0: of an earlier version

    @property
    def values(self) -> dict[str, Any]:
        """All but the tensors."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in PARTS}


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint as `step-<step>` below `folder` and drop those before it that are no longer kept.

    Raises:
        StorageError: it cannot be written; earlier checkpoints are untouched.
    """
    with new_folder(folder / f"step-{checkpoint.step:07d}") as new:
        for part in PARTS:
            write_tensors(new / _file(part), getattr(checkpoint, part))
        write_sealed(new / STATE, checkpoint.values, map(_file, PARTS))
    for old in [path for path in checkpoints(folder) if step_of(path) <= checkpoint.step][:-KEEP]:
        remove_folder(old)
    for path in folder.iterdir():
        if LEFT.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints below `folder`, oldest first; they may be damaged."""
    return [path for path in _named(folder) if (path / STATE).is_file()]


def _named(folder: Path) -> list[Path]:
    """What has the name of a checkpoint, oldest first, with what a crash left under another name."""
    for left in folder.glob(".step-*.old"):
        if found := LEFT.fullmatch(left.name):
            recover(folder / found[1])
    return sorted((path for path in folder.glob("step-*") if NAME.fullmatch(path.name)), key=step_of)


def step_of(path: Path) -> int:
    """The step in the name of a checkpoint."""
    return int(path.name.rpartition("-")[2])


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, and hold it against its checksums.

    Raises:
        StorageError: a file is missing, damaged or of another checkpoint.
    """
    try:
        state = read_sealed(path / STATE)
        with ThreadPoolExecutor(len(PARTS)) as pool:  # hashing holds no lock of Python's
            read = pool.map(lambda name: read_tensors(path / name, state.sha256(name)), map(_file, PARTS))
            parts: dict[str, Any] = dict(zip(PARTS, read, strict=True))
        checkpoint = Checkpoint(**state.values, **parts)
        if checkpoint.step != step_of(path):
            raise StorageError(f"'{STATE}' is of step {checkpoint.step}")
        if state.files is None:  # of an earlier version; else it is as it was, and was checked before it was saved
            _check_finite(checkpoint)
    except (TypeError, ValueError, StorageError) as error:
        raise StorageError(f"cannot read checkpoint '{path}': {error}") from error
    return checkpoint


def log_intact(log: Path, checkpoint: Checkpoint) -> bool:
    """Whether the log still begins as it was when a checkpoint was saved, as far as that is known."""
    if not checkpoint.log_sha256:
        return True
    content = log.read_bytes()[: checkpoint.log_size] if log.is_file() else b""
    return hashlib.sha256(content).hexdigest() == checkpoint.log_sha256


def newest_checkpoint(folder: Path, tell: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is sound; None where there is none at all.

    Args:
        folder: of the checkpoints.
        tell: is given a line about each newer one that is damaged or incomplete.

    Raises:
        StorageError: all of them are damaged.
    """
    damaged = None
    for path in reversed(_named(folder)):
        if not (path / STATE).is_file():
            tell(f"'{path}' is no checkpoint, as its {STATE} is missing; the one before is taken")
            continue
        try:
            checkpoint = load_checkpoint(path)
        except StorageError as error:
            damaged = error
            tell(f"{error}; the one before is taken")
        else:
            return checkpoint
    if damaged is not None:
        raise StorageError(f"no checkpoint in '{folder}' can be read, remove it to start anew; the oldest: {damaged}")
    return None


def _file(part: str) -> str:
    return f"{part}.safetensors"


def _check_finite(checkpoint: Checkpoint) -> None:
    for part in PARTS:
        for name, tensor in getattr(checkpoint, part).items():
            if not is_finite(tensor):
                raise StorageError(f"tensor '{name}' of '{_file(part)}' has values that are not finite")


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
    """Restore what `optimizer_state` gave, each tensor where its parameter is (step counts if fused).

    A parameter that has had no gradient has no state.

    Raises:
        AdapterError: some of it is of no parameter, or of one of another shape.
    """
    by_parameter: dict[str, dict[str, Tensor]] = {}
    for full_name, value in state.items():
        name, _, key = full_name.rpartition("|")
        by_parameter.setdefault(name, {})[key] = value
    _check_optimizer_state(optimizer, by_parameter)
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            counted = parameter.device if group.get("fused") else "cpu"
            for key, value in by_parameter.get(name, {}).items():
                moved = value.to(counted, copy=True) if key == "step" else laid_out_as(value, parameter)
                optimizer.state[parameter][key] = moved


def _check_optimizer_state(optimizer: Optimizer, by_parameter: Mapping[str, Mapping[str, Tensor]]) -> None:
    groups = optimizer.param_groups
    parameters = {n: p for group in groups for n, p in zip(group["names"], group["params"], strict=True)}
    if strange := sorted(by_parameter.keys() - parameters.keys()):
        raise AdapterError(f"the optimizer's state has '{strange[0]}', which does not train; {OTHER}")
    kinds = set().union(*by_parameter.values())
    for name, values in by_parameter.items():
        if lacking := sorted(kinds - values.keys()):
            raise AdapterError(f"the optimizer's state lacks '{name}|{lacking[0]}'; {OTHER}")
        for key, value in values.items():
            if value.ndim:  # a count of steps has none
                check_shape(f"{name}|{key}", value, parameters[name], "the optimizer's state", OTHER)
