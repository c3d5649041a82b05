"""What a configuration leaves to be found out, as numbers: found once, and saved with the run."""

from collections.abc import Iterable, Iterator
from itertools import count

from rich.console import Console

from minorkey.config import RunConfig, load_config
from minorkey.data.records import Record
from minorkey.data.statistics import class_prior, count_images, inverse_frequencies
from minorkey.data.workers import worker_count
from minorkey.errors import DataError
from minorkey.runs.assemble import open_sources
from minorkey.runs.fit_batch import fitting_batch
from minorkey.system.processes import from_main
from minorkey.system.progress import Reporter
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import cache_folder
from minorkey.tasks.table import task_named
from minorkey.training.device import device_for


def settled(config: RunConfig, folder: RunFolder, console: Console) -> RunConfig:
    """A configuration with numbers in place of words. All processes call this at one time.

    A run that has begun keeps those that it began with.

    Args:
        config: as it is asked for.
        folder: of the run.
        console: where it is told, and progress is shown.

    Raises:
        MinorkeyError: the numbers cannot be found out, or the run in the folder is damaged.
    """
    if config.head.class_weights == "inverse_frequency":
        weights = from_main(lambda: _known_weights(folder) or _inverse_frequencies(config, console))
        config = config.model_copy(update={"head": config.head.model_copy(update={"class_weights": weights})})
    if config.training.fit_batch:
        return from_main(lambda: _with_known_batch(config, folder)) or fitting_batch(config, folder, console)
    return config


def _with_known_batch(config: RunConfig, folder: RunFolder) -> RunConfig | None:
    """The configuration with the batch of the run that has begun in a folder, where a step is as large as asked."""
    if not (folder.started and folder.config.is_file()):
        return None
    asked, known = config.training, load_config(folder.config).training
    if known.fit_batch or known.batch_size * known.accumulate != asked.batch_size * asked.accumulate:
        return None
    changes = {"batch_size": known.batch_size, "accumulate": known.accumulate, "fit_batch": False}
    return config.model_copy(update={"training": asked.model_copy(update=changes)})


def _known_weights(folder: RunFolder) -> list[float] | None:
    """Those of the run that has begun in a folder."""
    if not (folder.started and folder.config.is_file()):
        return None
    weights = load_config(folder.config).head.class_weights
    return None if isinstance(weights, str) else weights


def _inverse_frequencies(config: RunConfig, console: Console) -> list[float]:
    """By the labels of the source."""
    task = task_named(config.task)
    space = task.space(config.label_space)
    sources = open_sources(config, space)
    workers = worker_count(config.training.workers, device_for(config.training), sum(map(len, sources.readers)))
    with Reporter(console, "counting classes", sum(map(len, sources.readers)), unit="image") as reporter:
        counter = count(1)

        def shown(records: Iterable[Record]) -> Iterator[Record]:
            for record in records:
                yield record
                reporter.update(next(counter))

        counts = count_images(sources.readers, space, task=task, workers=workers, cache=cache_folder(), progress=shown)
    shares = class_prior(counts, sources.weights)
    if not shares.any():
        raise DataError("head.class_weights is inverse_frequency, but no class occurs in the labels of the source")
    weights = [float(f"{weight:.4g}") for weight in inverse_frequencies(shares)]
    told = ", ".join(f"{name} {weight:g}" for name, weight in zip(space.classes, weights, strict=True))
    console.print(f"class weights: {told}", highlight=False, soft_wrap=True, markup=False)
    return weights
