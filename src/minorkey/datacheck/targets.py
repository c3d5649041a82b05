"""From what a user asks to have checked to open data sets."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from minorkey.config import RunConfig, load_config, presets, resolve
from minorkey.data.pixels import DEFAULT, PixelOptions
from minorkey.data.raw_cache import RawCache
from minorkey.data.readers import (
    HeldOut,
    Reader,
    SourceOptions,
    open_datasets,
    parted,
    trained_on,
    validation_of,
)
from minorkey.data.readers.joined import image_files, shared_images
from minorkey.data.readers.open import labelled_splits
from minorkey.data.readers.pairing import NoImages, NoSplit
from minorkey.data.readers.reader import Role
from minorkey.errors import ConfigError, DataError, MinorkeyError
from minorkey.labels import LabelSpace
from minorkey.runs.from_sources import pixels_of_sources, with_classes
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.base import Task
from minorkey.tasks.table import task_named

Use = Literal["data set", "trained on", "adapted to", "judged on", "unseen"]
"""What a data set is there for; `judged on` are the validation images of a source."""


@dataclass(frozen=True)
class Opened:
    """A data set that could be opened, and what it is there for."""

    use: Use
    reader: Reader


@dataclass(frozen=True)
class CheckTarget:
    """What is to be checked."""

    space: LabelSpace
    task: Task
    opened: list[Opened] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # data sets that a training needs and that cannot be opened
    warnings: list[str] = field(default_factory=list)  # those that it does without
    cache: RawCache | None = None  # keeps the pixels of what is read
    pixels: PixelOptions = DEFAULT  # what values of images mean where their data set says nothing


@dataclass(frozen=True)
class _Asked:
    use: Use
    spec: str
    role: Role
    needed: bool = True
    part: SourceOptions | None = None  # which of its images; None: all
    held: HeldOut | None = None  # those that are held out of these instead


def open_target(target: str, overrides: Mapping[str, Any], *, cached: bool = False) -> CheckTarget:
    """Open the data sets of a preset, a YAML file or a run, or the splits of one data set.

    A data set that names no split is looked at as a source and as an unseen domain, as far as it has both splits.

    Args:
        target: which.
        overrides: nested values of the configuration.
        cached: by way of its `data_cache`; otherwise every file is decoded.

    Raises:
        ConfigError: the configuration is not valid, or `cached` and it names no cache.
    """
    if is_data_set(target):
        return _open_alone(target, overrides, cached)
    run = RunFolder(Path(target))
    config = load_config(run.config, overrides) if run.config.is_file() else resolve(target, overrides)
    found = _nothing_yet(config, cached)
    for asked in () if found.problems else _asked_by(config):
        _open(asked, config, found)
    return found


def is_data_set(target: str) -> bool:
    """Whether this is neither a run nor a preset nor a YAML file."""
    named = target in presets() or target.endswith((".yaml", ".yml"))
    return not named and not RunFolder(Path(target)).config.is_file()


def _asked_by(config: RunConfig) -> Iterator[_Asked]:
    sources = [SourceOptions.model_validate(source) for source in config.source]
    yield from (_Asked("trained on", source.data, "source", part=source) for source in sources)
    yield from (_Asked("adapted to", target.data, "target", part=target) for target in config.target)
    if config.evaluation.source:
        yield from map(_validation, sources)
    yield from (_Asked("unseen", spec, "unseen") for spec in config.unseen)


def _validation(source: SourceOptions) -> _Asked:
    if source.validation is not None:
        return _Asked("judged on", source.data, "source", held=source.validation)
    return _Asked("judged on", validation_of(source.data), "validation", needed=False)


def _nothing_yet(config: RunConfig, cached: bool) -> CheckTarget:
    """A target of which nothing is open."""
    if cached and config.data_cache is None:
        raise ConfigError("no data_cache is set; name the folder that is to keep the pixels, data_cache=PATH")
    cache = RawCache(config.data_cache) if cached and config.data_cache else None
    task, problems = task_named(config.task), []
    try:
        config = with_classes(config)
    except DataError as error:  # a fault of the data, like any other
        problems.append(f"{', '.join(source.data for source in config.source)}: {error}")
        config = config.model_copy(update={"label_space": "cityscapes19"})
    pixels = config.pixels
    with suppress(MinorkeyError):  # that a source cannot be opened is said when it is its turn
        pixels = pixels_of_sources(config)
    return CheckTarget(task.space(config.label_space), task, problems=problems, cache=cache, pixels=pixels)


def _open_alone(spec: str, overrides: Mapping[str, Any], cached: bool) -> CheckTarget:
    """The splits of one data set: those that it is used by unless said, then all that are there.

    That it has no split of the former is worth a line, that it has neither is a problem.
    """
    config = resolve(None, {**overrides, "source": [spec]})
    found = _nothing_yet(config, cached)
    nameless = bool(found.problems)
    roles: tuple[Role, ...] = () if nameless else ("source", "unseen")
    for role in roles:
        _open(_Asked("data set", spec, role, needed=False), config, found)
    if not found.opened:
        close = get_close_matches(spec, presets(), n=1)
        hint = f"; or did you mean the preset '{close[0]}'?" if close else ""
        first = (found.problems or found.warnings)[0]
        found.problems[:] = [first + hint, *found.problems[1:]]
        found.warnings.clear()
    if cached or nameless:  # what is trained on, no more; or there are no classes to read labels as
        return found
    with suppress(MinorkeyError):  # it was said above
        for split in labelled_splits(spec, annotation=found.task.annotation, data_root=config.data_root):
            _open(_Asked("data set", split, "unseen", needed=False), config, found)
    return found


def _open(asked: _Asked, config: RunConfig, found: CheckTarget) -> None:
    """Add the readers of a data set to `found`, or the line that says why there are none."""
    try:
        readers = open_datasets(
            asked.spec,
            role=asked.role,
            label_space=found.space,
            data_root=config.data_root,
            options=config.world,
            annotation=found.task.annotation,
            cache=found.cache,
            seed=config.seed,
            pixels=found.pixels,
        )
        if (part := asked.part) is not None:
            readers = [trained_on(each, part, config.seed) for each in readers]
        if (held := asked.held) is not None:
            readers = [parted(each, held)[1] for each in readers]
    except MinorkeyError as error:
        lacking = not asked.needed and isinstance(error, (NoImages, NoSplit))
        if not any(str(error) in line for line in (*found.problems, *found.warnings)):
            line = f"{asked.spec} as {asked.role} domain: {error}"
            (found.warnings if lacking else found.problems).append(line)
        return
    for reader in readers:
        same = [other for other in found.opened if _same_images(other.reader, reader)]
        if not same:
            found.warnings.extend(_shared(asked, reader, found.opened))
            found.opened.append(Opened(asked.use, reader))
        elif asked.use != "data set":
            found.warnings.append(f"{reader.name} is {same[0].use} and {asked.use}: its scores would say little")


def _shared(asked: _Asked, reader: Reader, opened: Sequence[Opened]) -> list[str]:
    """A line where images that are judged on are trained on as well, as those of another split."""
    if asked.use in ("judged on", "unseen"):
        trained = [other.reader for other in opened if other.use == "trained on"]
        return shared_images(reader, trained, asked.use)
    # Of one data set, the second is what it is judged on unless said; `all` holds what is trained on, on purpose.
    if asked.use != "data set" or len(opened) != 1 or reader.name.endswith(":all"):
        return []
    both = set(image_files(reader)).intersection(image_files(opened[0].reader))
    if not both:
        return []
    return [
        f"{len(both)} of {len(reader)} images of {reader.name} are those of {opened[0].reader.name}: scores on what is "
        "trained on say little; say by {split} in `images`, or by lists, which images are of which split"
    ]


def _same_images(one: Reader, other: Reader) -> bool:
    return (one.name, len(one), one.key(0)) == (other.name, len(other), other.key(0))
