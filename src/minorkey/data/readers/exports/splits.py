"""Which split a folder, or a file, is of by its name."""

import re
from collections.abc import Iterable
from pathlib import Path

from minorkey.errors import DataError

CALLED = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "default": "all",
    "all": "all",
}
"""What tools call a split -> what it is called here."""

ORDER = ("train", "val", "test")

YEAR = re.compile(r"[_-]?(19|20)\d\d$")


def split_called(name: str) -> str:
    """What a split is called here.

    >>> [split_called(name) for name in ("train2017", "valid", "site_a")]
    ['train', 'val', 'site_a']
    """
    return CALLED.get(YEAR.sub("", name.lower()), name)


def is_split(name: str) -> bool:
    """Whether a name is one that tools give splits."""
    return YEAR.sub("", name.lower()) in CALLED


def splits_of(names: Iterable[str], root: Path) -> dict[str, str]:
    """What splits are called here -> their names on disk.

    Raises:
        DataError: two names are of one split.
    """
    found: dict[str, str] = {}
    for name in names:
        if (other := found.setdefault(split_called(name), name)) != name:
            raise DataError(f"{root} has '{other}' and '{name}', which are one split; rename one of them")
    return {
        split: found[split]
        for split in sorted(found, key=lambda split: (ORDER.index(split) if split in ORDER else len(ORDER), split))
    }
