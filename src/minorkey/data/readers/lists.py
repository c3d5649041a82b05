"""Splits that are lists: a text file for each, with a key per line, as Pascal VOC has them."""

from collections.abc import Container
from pathlib import Path

from minorkey.data.images import IMAGE_SUFFIXES
from minorkey.data.readers.files import Files
from minorkey.data.readers.layout import Layout
from minorkey.data.readers.named import key_named
from minorkey.data.readers.pairing import ANNOTATION_SUFFIXES, Found, NoSplit, find_images, find_one, hint, some
from minorkey.data.readers.pattern import Pattern
from minorkey.data.readers.text import composed, text_lines
from minorkey.errors import DataError, unknown

WHOLE = "all"
"""The split of all images, whatever the lists say."""

CLASS_MARKS = frozenset({"-1", "0", "1"})
"""What follows a name in the lists of a class in Pascal VOC: whether the image shows it."""


def listed_images(files: Files, spec: Layout, lists: str | None, split: str, place: str) -> tuple[Found, list[str]]:
    """The images of a split, by the list of it where the data set has lists, and what was passed over, a line each.

    Args:
        files: what lies below the root of the data set.
        spec: how its files are named.
        lists: the pattern of the lists of its splits; None: it has none.
        split: one of its splits.
        place: one of its domains, "" where it is one itself.

    Raises:
        NoImages: nothing below the root has the names of its images.
        NoSplit: it has no such split.
        DataError: a list is broken, or names an image that is not there.
    """
    images, notes = find_images(files, spec, split, place)
    if lists is None or split == WHOLE:
        return images, notes
    listed = _listed(files, spec, lists, split, place, images)
    if missing := listed - images.keys() - spec.skips.keys():
        expected = Pattern(spec.images, frozenset(), spec.known(split, place)).example(min(missing))
        raise DataError(f"{files.root}: image {some(missing)} of split '{split}' is missing; expected {expected}")
    return {key: image for key, image in images.items() if key in listed}, notes


def _listed(files: Files, spec: Layout, lists: str, split: str, place: str, images: Container[str]) -> set[str]:
    """The keys in the list of a split, a line each."""
    pattern = Pattern(lists, ANNOTATION_SUFFIXES, spec.known(split, place))
    address = find_one(files, pattern)
    if address is None:
        named = files.names(pattern.folder)
        anywhere = Pattern(lists, ANNOTATION_SUFFIXES, {"domain": spec.known(split, place)["domain"]})
        splits = [fields["split"] for name in named if (fields := anywhere.match(name))]
        known = f"; {unknown('split', split, splits)}" if splits else hint(files)
        raise NoSplit(f"{files.root}: no list of split '{split}', expected {pattern.example('*')}{known}")
    file = files.where(address)
    lines = text_lines(files.read(address), file)
    keys = {_named(composed(line), images, f"{file}: line {i + 1}") for i, line in enumerate(lines) if line}
    if not keys:
        raise DataError(f"{file} lists no image; expected a name per line")
    return keys


def _named(line: str, images: Container[str], where: str) -> str:
    """The image that a line of a list names: all of it, its first words, as in lists of a class, or a file."""
    words = line.split(" ")
    starts = (" ".join(words[:count]).rstrip() for count in range(len(words), 0, -1))
    known = [name for name in dict.fromkeys(starts) if name in images]
    if len(known) > 1 and (known[0] != line or words[-1] in CLASS_MARKS):
        raise DataError(f"{where} may name '{known[0]}' or '{known[1]}'; rename one of these images")
    if known:
        return known[0]
    return (key_named(line, images) or line) if Path(line).suffix.lower() in IMAGE_SUFFIXES else line
