"""Where a training begins when it goes on from the weights of another run, e.g. with a few labelled target images."""

from minorkey.config import RunConfig, load_config
from minorkey.errors import ConfigError, DataError
from minorkey.run_folder import RunFolder
from minorkey.training.checkpoint import Checkpoint, checkpoints, load_checkpoint

SAME = ("backbone", "head", "method", "label_space")
"""What both runs must agree on for the trained tensors to fit."""


def start_weights(config: RunConfig) -> Checkpoint | None:
    """The weights that the run `config.start_from` deploys, as a checkpoint; None where nothing is named.

    Its optimizer, averages and step belong to the other run and are of no use here.

    Raises:
        ConfigError: the two runs differ in what must be the same.
        DataError: there is no finished run, or it kept no checkpoint.
    """
    if config.start_from is None:
        return None
    run = RunFolder(config.start_from)
    run.require_trained()
    other = load_config(run.config)
    if different := [name for name in SAME if getattr(other, name) != getattr(config, name)]:
        raise ConfigError(
            f"start_from: '{run.path}' has another {' and '.join(different)} (see its config.yaml); "
            f"give this run the same {', '.join(SAME)}"
        )
    saved = checkpoints(run.checkpoints)
    if not saved:
        raise DataError(f"start_from: '{run.path}' has no checkpoints/ any more, which hold the trained tensors")
    last = load_checkpoint(saved[-1])
    chosen = {"ema": last.ema, "last": {}}.get(other.deployed, last.best)
    last.adapter.update(_below("adapter.", chosen))
    last.head.update(_below("head.", chosen))
    return last


def _below(prefix: str, tensors: dict) -> dict:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
