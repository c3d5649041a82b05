"""A run from its configuration: lock and claim the folder, open the data, train, evaluate."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from minorkey.config import RunConfig, load_config, save_config, saved_values
from minorkey.data.classes import OF_THE_DATA
from minorkey.errors import ConfigError, MinorkeyError
from minorkey.evaluation.scores import ScoreTable
from minorkey.labels.tables import read_yaml
from minorkey.runs.evaluate import evaluate, judged_names
from minorkey.runs.fit import fit
from minorkey.runs.from_sources import with_classes, with_pixels
from minorkey.runs.load import protocol_of
from minorkey.runs.material import open_material
from minorkey.runs.rounds import fit_in_rounds
from minorkey.runs.settled import settled
from minorkey.runs.tracked import track_result
from minorkey.system.lock import sole_writer
from minorkey.system.ours import claim as own
from minorkey.system.ours import refuse_links
from minorkey.system.outside import outside_faults
from minorkey.system.processes import from_main, process_count, speaker
from minorkey.system.run_folder import RunFolder, resuming
from minorkey.system.saved_config import differing_keys
from minorkey.training.device import connect
from minorkey.training.tracking import check_trackers


@outside_faults()
def train(config: RunConfig, out: Path, *, resume: bool = False, console: Console | None = None) -> ScoreTable:
    """Train, save and evaluate one run.

    Args:
        config: the resolved configuration.
        out: the run folder.
        resume: go on where an earlier run in `out` stopped; what is finished is not done again.
        console: where progress is shown.

    Returns:
        The scores, as in `metrics.json`.

    Raises:
        MinorkeyError: bad input, or a training that cannot go on; one line says what to do.
    """
    connect(config.training)
    from_main(lambda: check_trackers(config.training.track))
    console = speaker(console)
    folder = RunFolder(Path(out))
    config = from_main(lambda: _with_pixels(_with_classes(config, folder), folder))
    from_main(lambda: refuse_in_vain(config))
    from_main(lambda: protocol_of(config))  # what it refuses is better found before the training
    config = settled(config, folder, console)
    if from_main(lambda: folder.finished):  # and nothing is written
        from_main(lambda: claim(folder, config, resume))
        return from_main(lambda: ScoreTable.read(folder.metrics))
    with sole_writer(folder.path, console):
        from_main(lambda: claim(folder, config, resume))
        material = open_material(config, folder, console)
        if not from_main(folder.cost.is_file):
            (fit_in_rounds if config.regime_class.rounds(config) else fit)(config, folder, material, console)
        with _saved(folder):
            scores = evaluate(folder.path, console=console)
        track_result(config, folder, scores, console)
        return scores


def refuse_in_vain(config: RunConfig) -> None:
    """Refuse what is asked of a training and would not happen; a run that was trained so before is read all the same.

    Raises:
        ConfigError: says what, and what to do.
    """
    training = config.training
    if training.watch and not config.unseen:
        raise ConfigError("training.watch judges on unseen domains, and none is named; leave it out")
    least = config.smallest_batch * (process_count() if config.head.mixup else 1)  # each process blends its own
    if training.batch_size < least and not training.fit_batch:
        shared = f", of which each of {process_count()} processes has its own" if process_count() > 1 else ""
        raise ConfigError(
            f"training.batch_size is {training.batch_size}, but head.mixup blends images of a batch{shared}; give it "
            f"{least} or more"
        )
    last = dict((config.regime_class.rounds(config) or [{}])[-1]).get("steps", training.steps)
    if training.choose == "ema" and (training.weight_ema_from or 0) > last:
        raise ConfigError(
            f"no average is kept in the last round, of {last} steps; set training.weight_ema_from to one of them"
        )


def _with_classes(config: RunConfig, folder: RunFolder) -> RunConfig:
    """A configuration that holds its classes; of a run from before runs did, it stays as that saved it."""
    if config.label_space in OF_THE_DATA or not (folder.started and folder.config.is_file()):
        return with_classes(config)
    return config if load_config(folder.config).label_space == config.label_space else with_classes(config)


def _with_pixels(config: RunConfig, folder: RunFolder) -> RunConfig:
    """A configuration that says what values of images mean; that of the run as saved, without a look at its data."""
    resumed = folder.started and folder.config.is_file() and load_config(folder.config) == config
    return config if resumed else with_pixels(config)


@contextmanager
def _saved(folder: RunFolder) -> Iterator[None]:
    """An error of the judging says that the training is not lost."""
    try:
        yield
    except MinorkeyError as error:
        go_on = resuming(folder.path)
        error.args = (f"{error}. The training is saved; once this is mended, {go_on} judges it without training again",)
        raise


def claim(folder: RunFolder, config: RunConfig, resume: bool) -> None:
    """Make the folder this run's, or refuse to mix two runs in one.

    Raises:
        ConfigError: it holds a run with another configuration, or one that is not to be resumed, or files of other
            origin under the names that a run has.
    """
    refuse_links(folder.path, judged_names(folder, config))  # now, and not when there is something to judge
    if not folder.started:
        own(folder.path, "a run", [*folder.trained, *judged_names(folder, config)])
        save_config(config, folder.config)
    elif not resume:
        raise ConfigError(
            f"'{folder.path}' holds a run already; go on with {resuming(folder.path)}, or choose another --out"
        )
    elif keys := differing_keys(saved_values(load_config(folder.config)), saved_values(config)):
        raise ConfigError(
            f"'{folder.path}' holds a run with another configuration (see its config.yaml): {', '.join(keys[:5])} "
            "differ; choose another --out"
        )
    elif not folder.cost.is_file():  # whose record would answer for the file
        _complete(folder)


def _complete(folder: RunFolder) -> None:
    """Write down the keys that the version that saved the configuration did not know yet, as they are by default."""
    config = load_config(folder.config)
    if differing_keys(cast(Mapping[str, Any], read_yaml(folder.config)), saved_values(config)):
        save_config(config, folder.config)
