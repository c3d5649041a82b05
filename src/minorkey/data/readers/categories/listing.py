"""The images of a data set with the class of each, found in class folders or in a table."""

from collections.abc import Mapping
from dataclasses import dataclass

from minorkey.data.deep_images import image_suffixes
from minorkey.data.listing import is_hidden
from minorkey.data.readers.categories.spec import CategorySpec
from minorkey.data.readers.files import Files
from minorkey.data.readers.on_disk import Listed
from minorkey.data.readers.pairing import NoImages, NoSplit, hint
from minorkey.data.readers.pattern import Pattern
from minorkey.data.readers.table import Columns, is_of, named_from, read_table
from minorkey.data.readers.text import composed
from minorkey.errors import DataError, unknown

COLUMNS = Columns(
    names=("file", "category", "domain", "split"),
    needed=2,
    also_called={
        "file": ("filename", "file_name", "image", "image_path", "path", "filepath"),
        "category": ("label", "class", "class_name", "category_name"),
        "split": ("set", "subset"),
    },
)
"""Of a table of classified images."""


@dataclass(frozen=True)
class Classified(Listed):
    """An image with its class; the key holds that too where it is a folder, as files of several may share a name."""

    category: str  # as the data set calls it


def listed(files: Files, spec: CategorySpec, known: Mapping[str, str]) -> list[Classified]:
    """The images of a domain and, where the data set has splits, of a split, sorted by key.

    Args:
        files: what lies below the root of the data set.
        spec: how they are named.
        known: the fields `domain` and `split` of the patterns, as far as they are.

    Raises:
        NoImages: there are none.
        DataError: a class folder holds no images, or two images share a key.
    """
    found = _in_folders(files, spec, known) if spec.table is None else _in_table(files, spec.table, known)
    keys: dict[str, Classified] = {}
    for one in found:
        if (other := keys.setdefault(one.key, one)).address != one.address:
            raise DataError(f"{files.root}: {other.address} and {one.address} share the name '{one.key}'; keep one")
        if other.category != one.category:
            classes = f"'{other.category}' and '{one.category}'"
            raise DataError(f"{files.where(spec.table or '')}: {one.address} is of {classes}; keep one of the lines")
    if not keys:
        expected = (
            Pattern(spec.images, image_suffixes(spec.pixels), known).example("*").replace("{category}", "<class>")
        )
        raise NoImages(f"{files.root} holds no images of {_which(known)}; expected {expected}{hint(files)}")
    return [keys[key] for key in sorted(keys)]


def _in_folders(files: Files, spec: CategorySpec, known: Mapping[str, str]) -> list[Classified]:
    pattern = Pattern(spec.images, image_suffixes(spec.pixels), known)
    found = []
    for name, address in files.names(pattern.folder).items():
        if fields := pattern.match(name):
            category = fields["category"]
            found.append(Classified(f"{category}/{fields['key']}", address, category))
    _refuse_empty(files, pattern, {one.category for one in found})
    return found


def _refuse_empty(files: Files, pattern: Pattern, categories: set[str]) -> None:
    """Raise where a folder that stands for a class holds no images: it is more likely lost than meant.

    Only where the folders of classes are all that lies in one folder, as in all usual layouts.
    """
    above, _, below = f"/{pattern.text}".partition("/{category}/")
    if not below:
        return
    folder = files.root / Pattern(f"{above}/."[1:], frozenset(), pattern.known).folder
    if not folder.is_dir() or not categories:
        return
    names = sorted(
        composed(entry.name) for entry in folder.iterdir() if entry.is_dir() and not is_hidden(f"{entry.name}/")
    )
    if empty := [name for name in names if name not in categories]:
        raise DataError(f"class folder {folder / empty[0]} holds no images; fill it, or remove it")


def _in_table(files: Files, table: str, known: Mapping[str, str]) -> list[Classified]:
    names = files.names("")
    found = []
    for number, row in read_table(files, table, COLUMNS):
        if not is_of(row, known):
            continue
        where, category = f"{files.where(table)}, line {number}: {row['file']}", row["category"]
        if not category:
            raise DataError(f"{where} has no category")
        file = next((name for name in named_from(row["file"], table, files.root) if name in names), None)
        if file is None:
            raise DataError(f"{where} is missing; expected a path below the folder of the table")
        found.append(Classified(file.rpartition(".")[0], names[file], category))
    return found


def check_split(files: Files, split: str, choices: tuple[str, ...]) -> None:
    """Refuse a split that there is none of.

    Raises:
        NoSplit: the closest one is named.
    """
    if choices and split not in choices:
        raise NoSplit(f"{files.root}: {unknown('split', split, choices)}")


def _which(known: Mapping[str, str]) -> str:
    parts = [f"{name} '{value}'" for name, value in known.items() if value]
    return ", ".join(parts) or "any class"
