"""Which split a folder, or a file, is of by its name."""

import re
from collections.abc import Iterable
from pathlib import Path

from minorkey.errors import DataError

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What tools and people call a split -> what it is called here."""

WHOLE = {"all", "default"}
"""What tools call the images of a set that is not split, which is `all` here."""

ORDER = ("train", "val", "test")

YEAR = re.compile(r"[_-]?(19|20)\d\d$")


def split_called(name: str) -> str | None:
    """The split that a name is of; None: it is none that is known.

    >>> [split_called(name) for name in ("train2017", "Valid", "site_a")]
    ['train', 'val', None]
    """
    return SPLITS.get(YEAR.sub("", name.lower()))


def is_split(name: str) -> bool:
    """Whether a name is one that tools give splits, or a set that is not split."""
    return split_called(name) is not None or name.lower() in WHOLE


def splits_of(names: Iterable[str], root: Path) -> dict[str, str]:
    """What splits are called here -> their names on disk.

    Raises:
        DataError: two names are of one split.
    """
    found: dict[str, str] = {}
    for name in names:
        split = split_called(name) or ("all" if name.lower() in WHOLE else name)
        if (other := found.setdefault(split, name)) != name:
            raise DataError(f"{root} has '{other}' and '{name}', which are one split; rename one of them")
    return {
        split: found[split]
        for split in sorted(found, key=lambda split: (ORDER.index(split) if split in ORDER else len(ORDER), split))
    }
