"""The classes that data sets name by themselves, where a run does not name its classes."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from minorkey.data.corruptions.naming import split_corruption
from minorkey.data.readers import Reader, open_datasets
from minorkey.data.readers.categories import class_names
from minorkey.data.readers.joined import disk_readers
from minorkey.data.readers.locate import is_known, split_name
from minorkey.data.readers.own import split_own
from minorkey.data.readers.pairing import NoImages, NoSplit
from minorkey.errors import ConfigError, DataError, MinorkeyError
from minorkey.labels.space import IGNORE_INDEX, plain_name, shipped_like
from minorkey.labels.tables import read_yaml
from minorkey.labels.written import ClassRow, Colour, SpaceRow, listed_text

FROM_SOURCE = "source"
"""The label space of the classes that the data sets themselves name."""

OF_THE_DATA = (FROM_SOURCE, "folders")
"""Its names: the second is from when class folders alone did."""


def classes_of_source(
    sources: Sequence[str], unseen: Sequence[str] = (), *, annotation: str, data_root: Path | None
) -> str | SpaceRow:
    """The classes of all data sets as a label space that stands for itself: `cat, dog`, or a table with their colours.

    Args:
        sources: data sets that are trained on, as `open_datasets` takes them.
        unseen: those that are only judged on; their classes are looked at where images are classified.
        annotation: what its task learns of images.
        data_root: where known data sets lie.

    Returns:
        The name of a shipped label space, where it is just that.

    Raises:
        ConfigError: a data set does not name its classes.
        DataError: their classes differ, there is one class only, or a data set cannot be opened.
    """
    category = annotation == "category"
    specs = [split_corruption(spec)[0] for spec in (*sources, *(unseen if category else ()))]
    if category:
        specs = [_of_all_splits(spec) for spec in specs]
    readers = [part for spec in dict.fromkeys(specs) for part in _opened(spec, annotation, data_root)]
    return _of_folders(readers) if category else _of_ids(readers)


def name_their_classes(specs: Iterable[str], annotation: str) -> bool:
    """Whether these are data sets of one's own, in folders or by `hf:`, that name their classes, as far as is known."""
    return all(_is_own(split_corruption(spec)[0], annotation) for spec in specs)


def _is_own(spec: str, annotation: str) -> bool:
    if spec.startswith("hf:"):
        return True
    name = split_name(spec)[0]
    if name == "world" or split_own(spec) or is_known(name, annotation):
        return False
    with suppress(MinorkeyError):  # which is said where the data set is opened
        content = read_yaml(file) if (file := Path(name) / "dataset.yaml").is_file() else None
        return not isinstance(content, dict) or "reader" not in content
    return True


def _opened(spec: str, annotation: str, data_root: Path | None) -> list[Reader]:
    """The readers of a data set, one for each file that names classes: of what is trained on, or else of what is there.

    Raises:
        ConfigError: one names none.
    """

    def read(role: str) -> list[Reader]:
        return open_datasets(spec, role=role, label_space=None, data_root=data_root, annotation=annotation)  # type: ignore[arg-type]

    try:
        readers = read("source")
    except (NoImages, NoSplit) as error:
        try:
            readers = read("unseen")
        except MinorkeyError:
            raise error from None
    parts: list[Reader] = []
    for reader in readers:
        parts.extend(disk_readers(reader) or (reader,))
    if nameless := [part for part in parts if not getattr(part, "categories", None)]:
        raise ConfigError(
            f"data set '{nameless[0].name}' names no classes by itself; name them, e.g. label_space='[cat, dog]'"
        )
    return parts


def _of_folders(readers: Sequence[Reader]) -> str:
    """Classes that the images of every domain show, sorted: their order is nobody's choice."""
    names = class_names(readers)  # type: ignore[arg-type]
    if len(names) < 2:
        raise DataError(
            f"domain '{readers[0].domain}' shows one class only, '{names[0] if names else ''}'; a classifier needs two "
            "or more, e.g. <domain>/<class>/ with images"
        )
    return listed_text(names)


def _of_ids(readers: Sequence[Reader]) -> str | SpaceRow:
    """Classes in the order of the first, whose objects or pixels must be labelled in the others too."""
    first, *others = readers
    for other in others:
        if _plain(other).keys() != _plain(first).keys():
            raise DataError(_difference(first, other))
    names: tuple[str, ...] = first.categories  # type: ignore[attr-defined]
    if len(names) > IGNORE_INDEX:
        raise DataError(f"data set '{first.name}' names {len(names)} classes; at most {IGNORE_INDEX} are told apart")
    colours: dict[str, Colour] = dict(getattr(first, "colours", {}))
    if not colours:
        return shipped_like(names) or listed_text(names)
    rows = {name: ClassRow(colour=colours.get(name)) for name in names}
    return SpaceRow(name=listed_text(names), classes=rows)


def _plain(reader: Reader) -> dict[str, str]:
    return {plain_name(name): name for name in reader.categories}  # type: ignore[attr-defined]


def _difference(first: Reader, other: Reader) -> str:
    """Where the classes of two data sets differ, and the list of both."""
    one, two = _plain(first), _plain(other)
    alone = next(plain for plain in (one | two) if (plain in one) != (plain in two))
    has, lacks = (first, other) if alone in one else (other, first)
    return (
        f"data set '{has.name}' has class '{(one | two)[alone]}', '{lacks.name}' has not, and whether it is labelled "
        "there is not clear; make their classes the same or, if that is on purpose, name those of both: label_space="
        f"{yaml.safe_dump(list((one | two | one).values()), default_flow_style=True, width=10**6).strip()!r}"
    )


def _of_all_splits(spec: str) -> str:
    """A data set on disk without the splits that are asked for: classes are those of its domains."""
    return spec if spec.startswith("hf:") or split_own(spec) else split_name(spec)[0]
