"""Which images of a source are trained on, and which are held out to be judged on."""

import re

import numpy as np

from minorkey.data.readers.joined import Subset, choose, part_of
from minorkey.data.readers.options import HeldOut, SourceOptions
from minorkey.data.readers.reader import Reader
from minorkey.errors import DataError


def trained_on(reader: Reader, source: SourceOptions, seed: int) -> Reader:
    """The images of a source that are trained on.

    Args:
        reader: of all of them.
        source: says which.
        seed: of the run, draws a `fraction`.

    Raises:
        DataError: as `choose` and `parted`.
    """
    rest = reader if source.validation is None else parted(reader, source.validation)[0]
    return choose(rest, fraction=source.fraction, files=source.files, seed=seed)


def parted(reader: Reader, asked: HeldOut) -> tuple[Reader, Reader]:
    """What is left of a data set, and what is held out of it, drawn by a seed.

    Images of one group, such as the frames of a video, stay together; the fraction is then of the groups, rounded up.

    Raises:
        DataError: a key has no group, or there are fewer than two groups.
    """
    groups = [_group(reader, reader.key(index), asked.by) for index in range(len(reader))]
    names = sorted(set(groups))
    count = part_of(asked.fraction, len(names))
    if not 0 < count < len(names):
        what = "images" if asked.by is None else f"groups by '{asked.by}'"
        left = len(names) - count
        raise DataError(
            f"{reader.name} has {len(names)} {what}, of which {count} would be held out, and {left} left; set another "
            "fraction"
        )
    order = np.random.default_rng([asked.seed, len(names)]).permutation(len(names))
    held = {names[place] for place in order[:count]}
    parts = ([index for index, group in enumerate(groups) if (group in held) == wanted] for wanted in (False, True))
    rest, out = (Subset(reader, indices) for indices in parts)
    return rest, out


def _group(reader: Reader, key: str, by: str | None) -> str:
    """What of a key is its group: the field `group` of an expression, or what the whole expression matches."""
    if by is None:
        return key
    found = re.search(by, key)
    if found is None:
        raise DataError(f"{reader.name}: image '{key}' has nothing that '{by}' finds; mend `validation.by`")
    return found["group"] if "group" in found.re.groupindex else found[0]
