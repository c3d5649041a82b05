"""From the name of a data set, as a user writes it, to its readers."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minorkey.data.corruptions import split_corruption
from minorkey.data.pixels import DEFAULT, RGB, PixelOptions
from minorkey.data.raw_cache import RawCache
from minorkey.data.readers.categories.hub import each_hub_domain, open_category_hub
from minorkey.data.readers.clips import open_unlabelled
from minorkey.data.readers.corrupted import CorruptedReader
from minorkey.data.readers.files import Files
from minorkey.data.readers.hf import hub_parts, open_hub
from minorkey.data.readers.joined import Joined, disk_readers, of_brightness
from minorkey.data.readers.kinds import kind_of
from minorkey.data.readers.layout import Layout
from minorkey.data.readers.locate import is_bare, locate, split_name
from minorkey.data.readers.on_disk import DiskReader, Part
from minorkey.data.readers.own import Asked, OwnReader, reader_of, split_own
from minorkey.data.readers.pairing import NoImages, NoSplit, splits_on_disk
from minorkey.data.readers.reader import Reader, Role
from minorkey.data.readers.world import WorldOptions, open_world
from minorkey.errors import ConfigError, DataError
from minorkey.labels import LabelSpace

WORLD, HUB = "world", "hf"


def open_datasets(
    spec: str,
    *,
    role: Role,
    label_space: LabelSpace | None,
    data_root: Path | None = None,
    options: WorldOptions | None = None,
    annotation: str = "pixels",
    cache: RawCache | None = None,
    seed: int = 0,
    pixels: PixelOptions = DEFAULT,
) -> list[Reader]:
    """Open a data set: a reader for each of its domains.

    Args:
        spec: `world[:domain]`, a known data set as `name[:split]`, a folder that holds a `dataset.yaml` as
            `path[:split]`, `hf:path[:split][?options]`, or your own as `package.module:attribute[:part]`; a target may
            also be any folder or glob of images, or of clips (`clips?every=30`). With `+corruption@severity` after it,
            its corrupted images. The split is `train` for a source and a target and `val` for an unseen domain unless
            said, several are joined as `train,val`; the domain of the world is `clear`.
        role: whether it is trained on with its labels, without, or judged on. The samples of a target have no labels,
            and no label file is looked for.
        label_space: the classes of the run; labels are mapped to it while reading. None: the data set is opened for
            the sake of the names of its classes alone. Whatever its format, its readers then are `reader.Categorised`:
            they have `categories`, as the data set lists them or else sorted, perhaps `colours`, and need not read
            labels. Those that name none have no such attribute, or an empty one.
        data_root: where known data sets lie, each in a folder of its name.
        options: seed, size and number of scenes of the built-in world.
        annotation: what samples are labelled with, a row of `readers.kinds.KINDS`: label images, boxes or a class. A
            name may stand for a data set of each kind.
        seed: draws the parts of a data set that has no splits of its own.
        pixels: what the values of images mean of which the data set itself says nothing.
        cache: keeps the pixels of files, before corruptions; what is rendered or comes from `hf:` needs none.

    Raises:
        ConfigError: unknown name, domain or key, a split named twice, or a class that the label space has no place for.
        DataError: a folder, split, image or label file is missing, or a file of all annotations is broken.
    """
    clean, corruption = split_corruption(spec)
    readers = _open(clean, role, label_space, data_root, options or WorldOptions(), annotation, cache, seed, pixels)
    if corruption is None:
        return readers
    stated = next((part.pixels for one in readers for part in disk_readers(one) if part.pixels.stated), None)
    if stated is not None:
        raise ConfigError(
            f"{spec}: corruptions are of 8-bit RGB, these images have {stated}; leave '+{corruption}' out"
        )
    for each in corruption.split("+"):
        readers = [CorruptedReader(reader, each) for reader in readers]
    return readers


def stated_pixels(spec: str, *, annotation: str, data_root: Path | None) -> PixelOptions:
    """What a data set on disk says of the values of its images; nothing of any other.

    Raises:
        MinorkeyError: as `open_datasets`.
    """
    name, _ = split_name(split_corruption(spec)[0])
    if name in (WORLD, HUB) or spec.startswith(f"{HUB}:") or split_own(spec) or reader_of(Path(name)):
        return DEFAULT
    return DEFAULT if is_bare(name, annotation) else locate(name, data_root, annotation).forms[0].pixels


def each_domain(spec: str, *, annotation: str, data_root: Path | None) -> list[str]:
    """The domains of a data set, each as a data set of its own: `pacs-photo`, `pacs-sketch`, ... for `pacs`.

    Raises:
        MinorkeyError: as `open_datasets`.
    """
    clean, corruption = split_corruption(spec)
    name, part = split_name(clean)
    if clean.startswith(f"{HUB}:") and kind_of(annotation).drawn:
        end = f"+{corruption}" if corruption else ""
        return [f"{HUB}:{text}{end}" for text in each_hub_domain(clean.removeprefix(f"{HUB}:"))]
    if name in (WORLD, HUB) or split_own(clean) or reader_of(Path(name)):
        return [spec]
    domains = locate(name, data_root, annotation).domains
    if len(domains) < 2:
        return [spec]
    end = (f":{part}" if part else "") + (f"+{corruption}" if corruption else "")
    return [f"{name.rstrip('/')}-{domain.place}{end}" for domain in domains.values()]


def domain_of(spec: str) -> str:
    """The domain that a data set is of, whichever of its splits is named: `camvid` for `./camvid:val`."""
    clean, corruption = split_corruption(spec)
    name, part = split_name(clean)
    if name == WORLD:
        name = f"{WORLD}:{part or 'clear'}"
    elif clean.startswith(f"{HUB}:"):
        path, _, options = hub_parts(clean.removeprefix(f"{HUB}:"))
        name = f"{HUB}:{path}?{sorted(options.items())}"
    elif split_own(clean):
        name = clean
    return os.path.normpath(name) + (f"+{corruption}" if corruption else "")


def title_of(spec: str) -> str:
    """A name for a folder of what is done with a data set: its last part, and the domain that `hf:` takes of it."""
    place, domain = spec, None
    if spec.startswith(f"{HUB}:"):
        domain = hub_parts(spec.removeprefix(f"{HUB}:"))[2].get("only")
        place = spec.partition("?")[0]
    return Path(place).name.replace(":", "-") + (f"-{domain.replace('/', '-')}" if domain else "")


def labelled_splits(spec: str, *, annotation: str, data_root: Path | None) -> list[str]:
    """Each labelled split that lies on disk as a data set, `camvid:test`, ...; none where `spec` names one itself.

    Raises:
        MinorkeyError: as `open_datasets`.
    """
    name, part = split_name(spec)
    if part or name in (WORLD, HUB) or split_own(spec) or reader_of(Path(name)):
        return []
    root, forms, _ = locate(name, data_root, annotation)
    files = Files(root)
    found = next((found for form in forms if (found := _labelled(files, form))), [])
    return [f"{name}:{split}" for split in found]


def _labelled(files: Files, form: Layout) -> list[str]:
    return [split for split in splits_on_disk(files, form) if split not in form.unlabelled]


def validation_of(spec: str) -> str:
    """The data set whose validation images belong to a source: `camvid` for `camvid:train`."""
    base, corruption = split_corruption(spec)
    base = base.removesuffix(":train")
    return base if corruption is None else f"{base}+{corruption}"


def _open(
    spec: str,
    role: Role,
    space: LabelSpace | None,
    data_root: Path | None,
    world: WorldOptions,
    annotation: str,
    cache: RawCache | None,
    seed: int,
    pixels: PixelOptions,
) -> list[Reader]:
    if pixels.names != RGB and (name := spec.partition(":")[0]) in (WORLD, HUB):
        raise ConfigError(
            f"{spec}: images of `{name}` are RGB, those of this run have channels {', '.join(pixels.names)}"
        )
    if spec.startswith(f"{HUB}:"):
        if pixels.range is not None:
            raise ConfigError(
                f"{spec}: `{HUB}:` reads images of 8 bits as they are, and takes no range of values; save them as "
                "files, and give that folder"
            )
        if role != "target" and (instead := kind_of(annotation).hub):
            raise ConfigError(f"{spec}: no {annotation} are read by `{HUB}:`; {instead}")
        text = spec.removeprefix(f"{HUB}:")
        if kind_of(annotation).drawn:
            return [*open_category_hub(text, role, space, seed)]
        return [open_hub(text, role, space)]
    if own := split_own(spec):
        return [OwnReader(spec, own[0], Asked(own[1], role, space, data_root, annotation))]
    name, part = split_name(spec)
    if reader := reader_of(Path(name)):
        return [OwnReader(spec, reader, Asked(part, role, space, data_root, annotation, Path(name)))]
    if name == WORLD:
        return [open_world(part or "clear", role, world, space, annotation)]
    if role == "target" and is_bare(spec, annotation):
        return [open_unlabelled(spec, cache, pixels)]
    root, forms, domains = locate(name, data_root, annotation)
    files, splits, wanted = Files(root, cache), _splits(spec, part), None if role == "target" else space
    opened: list[Reader] = []
    for title, domain in domains.items():
        called = title if domain.place else name
        whole = Part(files, part, wanted, called, title, domain.place, seed, pixels)
        found = [_first_form(replace(whole, split=split), forms, role, kind_of(annotation).reader) for split in splits]
        chosen = found if domain.luma is None else [of_brightness(reader, domain.luma) for reader in found]
        opened.append(chosen[0] if len(splits) == 1 else Joined(chosen, splits, name=f"{called}:{part}"))
    return opened


def _splits(spec: str, part: str) -> list[str]:
    """The splits that are asked for; "" is the one that a role takes unless said."""
    splits = part.split(",")
    if len(splits) > 1 and ("" in splits or len(set(splits)) < len(splits)):
        raise ConfigError(f"{spec}: '{part}' is no list of splits; name each once, e.g. train,val")
    return splits


def _first_form(
    part: Part, forms: Sequence[Layout], role: Role, read: Callable[[Any, Part], DiskReader[Any]]
) -> DiskReader[Any]:
    """The data set in the first of its forms that can be read; if none can, what is wrong with the likeliest."""
    errors: list[DataError] = []
    for spec in forms:
        try:
            split = part.split or _default_split(spec, role, part.name)
            if role == "source" and split in spec.unlabelled:
                raise DataError(f"split '{split}' of '{part.name}' has no labels to train on; choose another")
            pixels = spec.pixels.completed(part.pixels)
            return read(spec, replace(part, split=split, name=f"{part.name}:{split}", pixels=pixels))
        except DataError as error:
            errors.append(error)
        except ConfigError as error:  # the label space does not go with the data
            raise ConfigError(f"{part.files.root}: {error}") from error
    # What is broken says more than what another form would be named like.
    raise min(errors, key=lambda error: (isinstance(error, (NoImages, NoSplit)), isinstance(error, NoImages)))


def _default_split(spec: Layout, role: Role, name: str) -> str:
    split = spec.default_split(role)
    if split is None:
        job = {"source": "to train on", "target": "to adapt to"}.get(role, "to judge on")
        raise NoSplit(f"'{name}' has no split {job} by itself; say which, e.g. {name}:{next(iter(spec.splits))}")
    return split
