"""The images of a split, and the file that goes with each, found by their names."""

from collections.abc import Iterable

from minorkey.data.deep_images import image_suffixes
from minorkey.data.pixels import PixelOptions
from minorkey.data.readers.files import Files
from minorkey.data.readers.layout import Layout
from minorkey.data.readers.pattern import Pattern
from minorkey.errors import DataError, unknown

ANNOTATION_SUFFIXES = frozenset({".json", ".xml", ".txt"})

Found = dict[str, tuple[str, str]]
"""Sample key -> (key of its labels, address of its file)."""


class NoImages(DataError):
    """Nothing on disk looks like the data set."""


class NoSplit(DataError):
    """A data set is there, and nothing of it says that it has this split."""


def find_images(files: Files, layout: Layout, split: str, place: str) -> tuple[Found, list[str]]:
    """The images of a split, sorted by key, and what was passed over, a line each.

    Args:
        files: what lies below the root of the data set.
        layout: how its files are named.
        split: one of its splits.
        place: one of its domains, "" where it is one itself.

    Raises:
        NoImages: nothing below the root has the names of its images.
        NoSplit: it has no such split.
        DataError: only annotations are there of this split, or two images have one name.
    """
    pattern = Pattern(layout.images, image_suffixes(layout.pixels), layout.known(split, place))
    images = _found(files, pattern) if split in (layout.splits or [split]) else {}
    if not images:
        raise _missing(files, layout, split, place)
    notes = [f"{other} is not read: the data set lies beside it" for other in files.passed_over(pattern.folder)]
    notes += [f"'{key}' is left out: {why}" for key, why in layout.skips.items() if images.pop(key, None)]
    return dict(sorted(images.items())), notes


def find_beside(files: Files, pattern: Pattern) -> dict[str, str]:
    """Key -> address of the files that match a pattern, e.g. of label images.

    Raises:
        DataError: two files of one name.
    """
    return {key: address for key, (_, address) in _found(files, pattern).items()}


def find_one(files: Files, pattern: Pattern) -> str | None:
    """The address of the file that a pattern without `{key}` stands for; None if there is none."""
    named = files.names(pattern.folder)
    return next((named[name] for name in sorted(named) if pattern.match(name) is not None), None)


def need_all(files: Files, images: Found, beside: dict[str, str], pattern: Pattern, split: str) -> None:
    """Make sure that each image has its file.

    Raises:
        DataError: one has none.
    """
    if unlabelled := {of for of, _ in images.values()} - beside.keys():
        expected = pattern.example(min(unlabelled)).replace(".*", ".png (or another format without loss)")
        raise DataError(
            f"{files.root}: image {some(unlabelled)} of split '{split}' without a label; expected {expected}"
            f"{hint(files)}"
        )


def some(keys: Iterable[str]) -> str:
    """The first of several keys and how many there are beyond it, as errors show them."""
    first, *rest = sorted(keys)
    return f"'{first}'" + (f" and {len(rest)} more" if rest else "")


def hint(files: Files) -> str:
    """That an archive in the root is of a kind that is not read, if there is one."""
    if not files.packed:
        return ""
    return f" ({files.packed[0]} cannot be read at random places: decompress it to .tar, or unpack it)"


def _found(files: Files, pattern: Pattern) -> Found:
    """The files that match a pattern."""
    found: Found = {}
    for name, address in files.names(pattern.folder).items():
        if fields := pattern.match(name):
            key = "_".join(filter(None, (fields["key"], fields.get("variant"))))
            _, other = found.setdefault(key, (fields["key"], address))
            if other != address:
                raise DataError(f"{files.root}: {other} and {address} share the name '{key}'; keep one of them")
    return found


def splits_on_disk(files: Files, layout: Layout) -> list[str]:
    """The splits of which there are images or annotations, sorted; none where names do not say of which they are."""
    if not layout.by_pattern:
        return sorted(layout.splits)
    told = [text for text in (layout.images, layout.beside) if text is not None and "{split}" in text]
    folders = {fields["split"] for text in told for fields in _matches(files, text, layout.pixels)}
    if not layout.splits:
        # Beside its `train.txt`, Pascal VOC has lists of each class, `car_train.txt`.
        return sorted(name for name in folders if name.partition("_")[2] not in folders or "{split}" in layout.images)
    return sorted(name for name, folder in layout.splits.items() if folder in folders)


def _matches(files: Files, text: str, pixels: PixelOptions) -> list[dict[str, str]]:
    """The fields of the files that match a pattern, whatever their split and domain."""
    pattern = Pattern(text, image_suffixes(pixels) | ANNOTATION_SUFFIXES, {})
    return [fields for fields in map(pattern.match, files.names(pattern.folder)) if fields]


def _missing(files: Files, layout: Layout, split: str, place: str) -> DataError:
    """Why a split has no images: what is there in its place."""
    anywhere = Pattern(layout.images, image_suffixes(layout.pixels), {"domain": layout.known(split, place)["domain"]})
    matches = [fields for fields in map(anywhere.match, files.names(anywhere.folder)) if fields]
    folders = {fields["split"] for fields in matches if "split" in fields}
    present = {name for name, folder in layout.splits.items() if folder in folders} if layout.splits else folders
    known = present if "{split}" in layout.images else layout.splits.keys()
    folder = layout.known(split, place)["split"]
    if layout.beside and any(fields.get("split") == folder for fields in _matches(files, layout.beside, layout.pixels)):
        images = Pattern(layout.images, image_suffixes(layout.pixels), layout.known(split, place)).example("*")
        return DataError(f"{files.root} holds annotations of split '{split}', but no images; expected {images}")
    if matches and known and split not in layout.splits:
        return NoSplit(f"{files.root}: {unknown('split', split, known)}")
    expected = Pattern(layout.images, image_suffixes(layout.pixels), layout.known(split, place))
    others = f" (of {', '.join(sorted(present))} it does)" if present else ""
    return (NoSplit if matches else NoImages)(
        f"{files.root} holds no images of split '{split}'{others}; expected {expected.example('*')}{hint(files)}"
    )
