"""Where a training begins when it goes on from another run: from all its trained weights, or from its head."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minorkey.config import RunConfig, completed, load_config, saved_values
from minorkey.errors import ConfigError, DataError
from minorkey.evaluation.scores import TrainingCost
from minorkey.labels import label_space
from minorkey.models.backbone import builtin_head
from minorkey.system.run_folder import RunFolder
from minorkey.system.saved_config import changed, differing_keys
from minorkey.tasks.table import task_named
from minorkey.training.checkpoint import Checkpoint, checkpoints, load_checkpoint

SAME = ("backbone", "head", "method", "label_space")
"""What both runs must agree on for the trained tensors to fit."""

SAME_HEAD = ("task", "backbone", "head", "label_space")
"""The same for the tensors of the head."""


def start_weights(config: RunConfig) -> Checkpoint | None:
    """The weights that the run `config.start_from` deploys, as a checkpoint; None where nothing is named.

    Its optimizer, averages and step belong to the other run and are of no use here.

    Raises:
        ConfigError: the two runs differ in what must be the same, or its checkpoint is of another run.
        DataError: there is no finished run, or it kept no checkpoint of its last step.
        StorageError: that checkpoint is damaged.
    """
    if config.start_from is None:
        return None
    run, other = _like("start_from", config.start_from, config, SAME)
    saved = checkpoints(run.checkpoints)
    if not saved:
        raise DataError(f"start_from: '{run.path}' has no checkpoints/ any more, which hold the trained tensors")
    last = load_checkpoint(saved[-1])
    if last.config and (keys := differing_keys(completed(last.config), saved_values(other))):
        raise ConfigError(changed(run, keys))
    if last.step != (end := _last_step(run, other)):
        raise DataError(f"start_from: '{saved[-1]}' is not of the last step of that run, {end}, which it deploys")
    chosen = {"ema": last.ema, "last": {}}.get(other.deployed, last.best)
    last.adapter.update(_below("adapter.", chosen))
    last.head.update(_below("head.", chosen))
    return last


def head_start(config: RunConfig) -> RunFolder | None:
    """The run whose head the new one begins with; None where nothing is named.

    Raises:
        ConfigError: the two runs differ in what must be the same.
        DataError: there is no finished run.
    """
    if config.head_from is None:
        return None
    folder = _builtin(config.task) if config.head_from == "builtin" else Path(config.head_from)
    return _like("head_from", folder, config, SAME_HEAD)[0]


def _builtin(task: str) -> Path:
    name = task_named(task).builtin_head
    if name is None:
        raise ConfigError(
            f"head_from is 'builtin', but no head of task {task} ships; give the folder of a finished run"
        )
    return builtin_head(name)


def _like(option: str, folder: Path, config: RunConfig, same: Sequence[str]) -> tuple[RunFolder, RunConfig]:
    """A finished run and its configuration, which has the same sections as another."""
    run = RunFolder(folder)
    run.require_trained()
    other = load_config(run.config)
    if different := [name for name in same if _fitting(other, name) != _fitting(config, name)]:
        seen = "" if getattr(config, option) == "builtin" else " (see its config.yaml)"
        raise ConfigError(
            f"{option}: '{getattr(config, option)}' has another {' and '.join(different)}{seen}; "
            f"give this run the same {', '.join(same)}, or set {option}=null"
        )
    return run, other


def _fitting(config: RunConfig, section: str) -> Any:
    """What of a section the tensors of a run depend on; of the label space its classes, wherever they are written."""
    if section == "label_space":
        return label_space(config.label_space).classes
    given = getattr(config, section)
    if section != "head":
        return given
    return given.model_dump(exclude=set(task_named(config.task).loss_alone))


def _last_step(run: RunFolder, config: RunConfig) -> int:
    if config.training.patience is not None:  # which goes with no rounds
        return TrainingCost.read(run.cost).steps or 0
    rounds = config.regime_class.rounds(config)
    return dict(rounds[-1] if rounds else {}).get("steps", config.training.steps)


def _below(prefix: str, tensors: dict) -> dict:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
