"""Label images: which ids or colours are in them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from minorkey.data.images import IMAGE_SUFFIXES
from minorkey.data.label_images import LABEL_SUFFIXES, read_colours, read_ids
from minorkey.data.readers.exports.folder import Folder
from minorkey.data.readers.exports.masks import told_classes
from minorkey.data.readers.files import Files
from minorkey.data.records import evenly_spread
from minorkey.datacheck.guess.guess import TOP, Guess, line
from minorkey.datacheck.guess.names import Pairs, groups_of, paired
from minorkey.errors import DataError

Progress = Callable[[Iterable[str], int], Iterable[str]]
"""`(names, how many)`: the same names, shown as they are read."""

MOST_COLOURS = 256
SMOOTHED = (".jpg", ".jpeg")
"""Suffixes of images in which ids and colours do not survive."""

MASK = ("background", "foreground")
"""What ids stand for where there are two, 0 and 1 or 0 and 255."""

IGNORED, ON = 255, 255
"""The id that is left out unless the only other is 0: then it is what a mask marks."""


def find_masks(files: Files) -> Pairs | None:
    """Images and their label images; None: there are none."""
    names = list(files.names(""))
    return paired(groups_of(names, IMAGE_SUFFIXES), groups_of(names, LABEL_SUFFIXES))


def find_smoothed(files: Files) -> list[str]:
    """Names of label images that were saved as JPEG, which no reader takes."""
    names = list(files.names(""))
    pairs = paired(groups_of(names, IMAGE_SUFFIXES), [g for g in groups_of(names, SMOOTHED) if g.role == "labels"])
    return [] if pairs is None else pairs.found


def guess_masks(files: Files, pairs: Pairs, images: int | None, progress: Progress) -> Guess:
    """The classes that a file beside names, or else by the ids, or the colours, that occur.

    Raises:
        DataError: a label image is broken, or holds more than a label image does.
    """
    chosen = [pairs.found[place] for place in evenly_spread(len(pairs.found), images or len(pairs.found))]
    counts = count_values(files, chosen, progress)
    seen = f"{len(chosen)} of {len(pairs.found)} label images were looked at" if len(chosen) < len(pairs.found) else ""
    painted = isinstance(next(iter(counts)), tuple)
    head = TOP + line("images", pairs.images) + line("labels", pairs.labels) + splits_line(pairs)
    what = "colours" if painted else "ids"
    note = f"# What the {what} in the label images stand for; `ignore` is left out of training and scores.\n"
    note += f"# {seen}: others may occur.\n" if seen else ""
    colours, names = told_classes(Folder(files.root))
    rows = [f"  {row}" for row in (_colour_rows(counts, colours) if painted else _id_rows(counts, names))]
    kind = f"{len(pairs.found)} images with label images of {len(counts)} {what}"
    kind += f", and {pairs.alone} without, at which a training stops" if pairs.alone else ""
    return Guess("segmentation", kind, f"{head}{note}{what}:\n{''.join(rows)}")


def splits_line(pairs: Pairs) -> str:
    """The key `splits`: folders, or that there are none."""
    if pairs.splits:
        left = line("unlabelled", pairs.unlabelled) if pairs.unlabelled else ""
        return line("splits", pairs.splits) + left
    return line("splits", ["all"], "name none, and put a folder of each split into the patterns, to judge on others")


def count_values(files: Files, names: Sequence[str], progress: Progress) -> Counter:
    """The pixels of every id or, where one label image is painted, of every colour (r, g, b), in all of these.

    Raises:
        DataError: one is broken, or holds more than a label image does.
    """
    addresses = files.names("")
    ids: Counter = Counter()
    for name in progress(names, len(names)):
        content, where = files.read(addresses[name]), files.where(addresses[name])
        try:
            found = read_ids(where, content)
        except DataError:
            _colours_in(where, content)  # which says it where it is neither
            break
        ids.update(dict(zip(*(part.tolist() for part in np.unique(found, return_counts=True)), strict=True)))
        if max(ids) > IGNORED or min(ids) < 0:
            raise DataError(f"{where}: id {max(ids)} is out of range; ids go from 0 to 255: is this a label image?")
    else:
        return ids
    colours: Counter = Counter()
    for name in progress(names, len(names)):
        colours.update(_colours_in(files.where(addresses[name]), files.read(addresses[name])))
        if len(colours) > MOST_COLOURS:
            raise DataError(
                f"{files.where(addresses[name])}: label images hold more than {MOST_COLOURS} colours, so they are "
                "photographs, or smoothed; save them without loss, or as ids"
            )
    return colours


def _colours_in(where: str, content: bytes) -> Counter:
    rgb = read_colours(where, content).astype(np.int64)
    packed, counts = np.unique(rgb @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)
    triples = [(value >> 16, value >> 8 & 255, value & 255) for value in packed.tolist()]
    return Counter(dict(zip(triples, counts.tolist(), strict=True)))


def _id_rows(counts: Counter, names: Sequence[str]) -> list[str]:
    if names:
        told = dict(enumerate(names)) | ({IGNORED: "ignore"} if len(names) <= IGNORED else {})
        others = {number: f"class_{number}" for number in sorted(counts) if number not in told}
        return [line(number, name, _share(number, counts)) for number, name in (told | others).items()]
    if counts.keys() in ({0, 1}, {0, ON}):
        return [line(number, name, _share(number, counts)) for number, name in zip(sorted(counts), MASK, strict=True)]
    named = {number: "ignore" if number == IGNORED else f"class_{number}" for number in sorted(counts)}
    return [line(number, name, _share(number, counts)) for number, name in named.items()]


def _colour_rows(counts: Counter, told: Mapping[str, Sequence[int]]) -> list[str]:
    others = sorted(set(counts) - {tuple(colour) for colour in told.values()})
    named = {name: tuple(colour) for name, colour in told.items()}
    named |= {f"class_{place}": colour for place, colour in enumerate(others, start=len(told))}
    return [line(name, list(colour), _share(colour, counts)) for name, colour in named.items()]


def _share(value: object, counts: Counter) -> str:
    return f"{100 * counts[value] / counts.total():.2g} % of the pixels"
