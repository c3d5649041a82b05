"""Training, step by step: claim the folder, open the data, train, evaluate. Commands and calls come through here."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from rich.console import Console

from minorkey.config import RunConfig, load_config, save_config
from minorkey.data.cache_size import in_bytes, reserve
from minorkey.data.rare_classes import RareClasses
from minorkey.data.records import Record
from minorkey.data.statistics import count_images
from minorkey.data.workers import worker_count
from minorkey.errors import ConfigError, DataError
from minorkey.evaluation.scores import ScoreTable
from minorkey.labels import label_space
from minorkey.runs.assemble import Network, build_network, open_judged, open_sources, open_targets
from minorkey.runs.evaluate import evaluate, load, protocol_of
from minorkey.runs.fit import Material, fit
from minorkey.runs.rounds import fit_in_rounds
from minorkey.system.processes import from_main, speaker, together
from minorkey.system.progress import Reporter
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import cache_folder
from minorkey.training.device import device_for

__all__ = [
    "Network",
    "build_network",
    "config_of",
    "evaluate",
    "load",
    "open_judged",
    "open_sources",
    "protocol_of",
    "train",
]


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
    device_for(config.training)  # first of all: it connects the processes
    console = speaker(console)
    folder = RunFolder(Path(out))
    from_main(lambda: _claim(folder, config, resume))
    if from_main(folder.metrics.is_file):
        return from_main(lambda: ScoreTable.read(folder.metrics))
    with together():
        space = label_space(config.label_space)
        material = Material(space, open_sources(config, space), open_targets(config, space))
        for note in _notes(config, material):
            console.print(note, highlight=False, soft_wrap=True)
        open_judged(config, space, console)  # a missing data set is better found before the training than after
    from_main(lambda: _reserve(material, console))
    material = replace(material, rare=from_main(lambda: _rare_classes(config, folder, material, console)))
    if not from_main(folder.cost.is_file):
        (fit_in_rounds if config.regime_class.rounds(config) else fit)(config, folder, material, console)
    return evaluate(folder.path, console=console)


def config_of(run: str | Path) -> RunConfig:
    """The configuration of the run in a folder.

    Raises:
        DataError: there is no run, or it is a round of one.
    """
    folder = RunFolder(Path(run))
    whole = RunFolder(folder.path.resolve().parent.parent)
    if folder.path.resolve().parent.name == "rounds" and whole.config.is_file():
        raise DataError(f"'{folder.path}' is a round of the run '{whole.path}'; resume that")
    if not folder.config.is_file():
        raise DataError(f"no run in '{folder.path}' (config.yaml is missing); give the --out folder of a training")
    return load_config(folder.config)


def _claim(folder: RunFolder, config: RunConfig, resume: bool) -> None:
    """Make the folder this run's, or refuse to mix two runs in one."""
    if not folder.started:
        save_config(config, folder.config)
    elif not resume:
        raise ConfigError(
            f"'{folder.path}' holds a run already; go on with `minorkey train --resume {folder.path}`, "
            "or choose another --out"
        )
    elif load_config(folder.config).model_copy(update={"data_cache": config.data_cache}) != config:
        raise ConfigError(
            f"'{folder.path}' holds a run with another configuration (see its config.yaml); choose another --out"
        )


def _reserve(material: Material, console: Console) -> None:
    """Say how large the cache of pixels gets, if there is one, and refuse what the disk has no room for."""
    kept = [
        (part.cache, reader)
        for part in (material.sources, material.targets)
        if part is not None and part.cache is not None
        for reader in part.readers
    ]
    if kept and (needed := reserve(kept)):
        note = f"data_cache {kept[0][0].folder}: about {in_bytes(needed)} will be written, as images are first read"
        console.print(note, highlight=False, soft_wrap=True)


def _rare_classes(config: RunConfig, folder: RunFolder, material: Material, console: Console) -> RareClasses | None:
    """The classes of every source image, counted once for all runs or, without a folder for that, for this run."""
    temperature, readers = config.training.rare_classes, material.sources.readers
    if temperature is None or folder.cost.is_file():
        return None
    with Reporter(console, "class statistics", sum(map(len, readers)), unit="image") as reporter:
        counter = count(1)

        def shown(records: Iterable[Record]) -> Iterator[Record]:
            for record in records:
                yield record
                reporter.update(next(counter))

        cache = cache_folder() or folder.path / "statistics"
        workers = worker_count(config.training.workers, device_for(config.training), sum(map(len, readers)))
        counts = count_images(readers, material.space, workers=workers, cache=cache, progress=shown)
    return RareClasses(counts, temperature)


def _notes(config: RunConfig, material: Material) -> list[str]:
    """What a user should know of the data before the training, a line each."""
    notes = [note for reader in material.sources.readers for note in reader.notes]
    if material.targets is not None:
        readers = material.targets.readers
        names = ", ".join(f"{len(reader)} images of {reader.name}" for reader in readers)
        use = (
            "the labels of its judged images choose the weights"
            if config.deployed == "oracle"
            else ("labels of the target are used for judging only")
        )
        notes += [note for reader in readers for note in reader.notes]
        notes.append(f"adapting to {names}, without labels; {use}")
    return list(dict.fromkeys(notes))
