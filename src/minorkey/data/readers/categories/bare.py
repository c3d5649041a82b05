"""A folder of class folders, or one with a table, of which no `dataset.yaml` says anything: what it shows by itself."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from minorkey.data.images import IMAGE_SUFFIXES
from minorkey.data.listing import is_hidden
from minorkey.data.readers.categories.listing import COLUMNS
from minorkey.data.readers.categories.spec import CategorySpec
from minorkey.data.readers.files import Files
from minorkey.data.readers.reader import Categorised
from minorkey.data.readers.splits import SPLITS, split_called
from minorkey.data.readers.table import read_table
from minorkey.data.readers.text import text_lines
from minorkey.errors import DataError
from minorkey.labels.space import plain_name

USUAL_TABLE = "labels.csv"

OF_IMAGES = re.compile(r"[_-]?(images?|imgs?)$", re.IGNORECASE)
"""What follows the name of a split in that of its folder of images."""

NOTED = (".json", ".xml", ".txt")
"""Files beside images that annotate them."""


def bare_spec(root: Path) -> CategorySpec:
    """How the images of a folder are named: a table, `<split>/<class>/`, `<domain>/<class>/` or `<class>/`.

    Raises:
        DataError: it is none of these.
    """
    if (table := _table(root)) is not None:
        return with_columns(CategorySpec(table=table), root)
    tops = _folders(root)
    flat = {folder.name for folder in tops if _images(folder)}
    inner = [folder.name for folder in tops if any(_images(below) for below in _folders(folder))]
    splits = _splits(root, [name for name in inner if name not in flat])
    # Beside train/<class>/ a flat test/ has images without a class; it is not the class 'test'.
    if "train" in splits or (splits and not flat and splits.keys() <= set(SPLITS.values())):
        return CategorySpec(images="{split}/{category}/{key}.*", splits=splits)
    if flat:
        _refuse_other_folders(root, sorted(flat))
        return CategorySpec(images="{category}/{key}.*")
    if inner:
        return CategorySpec(domains={name: name for name in inner})
    raise DataError(
        f"{root} holds no classified images; expected <class>/, <domain>/<class>/ or <split>/<class>/ with images, "
        f"{USUAL_TABLE} with columns file and category, or a dataset.yaml"
    )


def _refuse_other_folders(root: Path, names: Sequence[str]) -> None:
    """Raise `DataError` where folders of images are splits or parts of other data, which nobody means to tell apart."""
    found = ", ".join(f"{name}/" for name in names[:3])
    if all(split_called(OF_IMAGES.sub("", name)) for name in names):
        raise DataError(
            f"{root}: folders {found} are called as splits, not as classes; put class folders in them, or list the "
            f"images in {USUAL_TABLE} with columns file, category and split"
        )
    photos = [entry for name in names for entry in sorted((root / name).iterdir()) if _is_image(entry)]
    noted = [beside for photo in photos for end in NOTED if (beside := photo.with_suffix(end)).is_file()]
    if 2 * len(noted) > len(photos):
        raise DataError(
            f"{root}: images of {found} have {noted[0].relative_to(root)} and the like beside them, so the folders are "
            "perhaps no classes; if they are, write dataset.yaml with `images: '{category}/{key}.*'`"
        )


def _splits(root: Path, names: Sequence[str]) -> dict[str, str]:
    """What the folders of classes are called as splits, those that are known as such by their usual name."""
    splits: dict[str, str] = {}
    for name in names:
        split = split_called(name) or name
        if splits.setdefault(split, name) != name:
            raise DataError(f"{root} has split '{split}' twice, as {splits[split]}/ and {name}/; move one of them away")
    return splits


def with_columns(spec: CategorySpec, root: Path) -> CategorySpec:
    """A row with the domains and splits that its table names, if it has one.

    Raises:
        DataError: the table cannot be read.
    """
    if spec.table is None:
        return spec
    rows = [row for _, row in read_table(Files(root), spec.table, COLUMNS)]
    domains = sorted({row["domain"] for row in rows if row.get("domain")})
    splits = sorted({row["split"] for row in rows if row.get("split")})
    found = {
        "domains": {name: name for name in domains},
        "splits": {split_called(name) or name: name for name in splits},
    }
    return spec.model_copy(update=found | {"split_column": bool(splits)})


def class_names(readers: Iterable[Categorised]) -> tuple[str, ...]:
    """The classes that every one of these shows, sorted, as the first one writes them.

    Raises:
        DataError: two of them differ.
    """
    first: tuple[str, dict[str, str]] | None = None
    for reader in readers:
        names = {plain_name(name): name for name in sorted(reader.categories)}
        if first is None:
            first = (reader.domain, names)
        elif names.keys() != first[1].keys():
            alone = min(names.keys() ^ first[1].keys())
            has, lacks = (reader.domain, first[0]) if alone in names else (first[0], reader.domain)
            raise DataError(
                f"domain '{has}' has class '{(names | first[1])[alone]}', domain '{lacks}' has not; make their class "
                "folders the same, or name the classes, e.g. label_space='cat, dog'"
            )
    assert first is not None, "there is a reader"
    return tuple(sorted(first[1].values()))


def _table(root: Path) -> str | None:
    """The table of a folder: `labels.csv`, or the only one there is, where it has the columns; None: there is none."""
    tables = [entry.name for entry in sorted(root.iterdir()) if entry.suffix.lower() == ".csv" and entry.is_file()]
    if USUAL_TABLE in tables:
        return USUAL_TABLE
    if len(tables) != 1:
        return None
    lines = text_lines(Files(root).read(tables[0]), tables[0])
    return tables[0] if any(COLUMNS.are_in(line) for line in lines[:1]) else None


def _folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not is_hidden(f"{entry.name}/"))


def _images(folder: Path) -> bool:
    """Whether images lie in a folder itself."""
    return any(map(_is_image, folder.iterdir()))


def _is_image(entry: Path) -> bool:
    return entry.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(entry.name)
