"""What a training learns from: its data sets, opened, and what is to be known of them before it begins."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from rich.console import Console

from minorkey.config import RunConfig
from minorkey.data.cache_size import in_bytes, reserve
from minorkey.data.looks import looks
from minorkey.data.rare_classes import RareClasses
from minorkey.data.readers.joined import shared_images
from minorkey.data.records import Record, turned_among
from minorkey.data.statistics import count_images
from minorkey.data.workers import worker_count
from minorkey.labels import LabelSpace
from minorkey.models.channels import new_channels
from minorkey.runs.assemble import Sources, open_judged, open_sources, open_targets
from minorkey.system.processes import from_main, together
from minorkey.system.progress import Reporter
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import cache_folder
from minorkey.tasks.table import task_named
from minorkey.training.device import device_for


@dataclass(frozen=True)
class Material:
    """What a training learns from."""

    space: LabelSpace
    sources: Sources
    targets: Sources | None = None  # unlabelled
    rare: RareClasses | None = None  # the classes of the source images, where rare ones are to be drawn more often
    pseudo_labels: Path | None = None  # folder of label images for the targets, from an earlier round


def open_material(config: RunConfig, folder: RunFolder, console: Console) -> Material:
    """Open what a run learns from, and tell what a user should know of it.

    Args:
        config: of the run.
        folder: its folder.
        console: where it is told, and progress is shown.

    Raises:
        DataError: a data set is missing or broken, one of those that the run is evaluated on, too: it is better found
            before the training than after.
        StorageError: the disk has no room for the cache of pixels.
    """
    with together():
        space = task_named(config.task).space(config.label_space)
        material = Material(space, open_sources(config, space), open_targets(config, space))
        for note in _notes(config, material):
            console.print(note, highlight=False, soft_wrap=True)
        sources = material.sources.readers
        for domain in open_judged(config, space, console):
            for line in shared_images(domain.reader, sources, "judged on"):
                console.print(f"warning: {line}", highlight=False, soft_wrap=True)
    from_main(lambda: _reserve(material, console))
    return replace(material, rare=from_main(lambda: _rare_classes(config, folder, material, console)))


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
    notes += [
        f"warning: images of {reader.name} carry an EXIF orientation and are turned upright; whether their annotations "
        "are of the upright image is not known where sizes are equal: see minorkey data check"
        for reader in material.sources.readers
        if turned_among(reader)
    ]
    trained = [*material.sources.readers, *(material.targets.readers if material.targets else ())]
    notes += [f"{reader.name}: {line}" for reader in trained for line in looks(reader)]
    if new := new_channels(config.pixels.names):
        notes.append(
            f"the network takes {len(config.pixels.names)} channels: kernels of {', '.join(new)} start at 0, and its "
            f"first layer trains beside what {config.method.name} trains"
        )
    if material.targets is not None:
        readers = material.targets.readers
        names = ", ".join(f"{len(reader)} images of {reader.name}" for reader in readers)
        chosen = config.deployed == "oracle"
        use = (
            "the labels of its judged images choose the weights"
            if chosen
            else "labels of the target are used for judging only"
        )
        notes += [note for reader in readers for note in reader.notes]
        notes.append(f"adapting to {names}, without labels; {use}")
    return list(dict.fromkeys(notes))
