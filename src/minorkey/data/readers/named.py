"""The images that a file names: with folders above them, in the form of another system, or as part of an address."""

from collections.abc import Collection, Container, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

from minorkey.data.readers.pairing import some
from minorkey.data.readers.text import composed
from minorkey.errors import DataError


def key_named(name: str, keys: Container[str]) -> str | None:
    """The key of an image that a file names with or without folders above it; None if there is no such image.

    >>> key_named("C:\\\\street\\\\images\\\\a.jpg", {"a", "b"}), key_named("/data/upload/1/a%20b.jpg", {"1/a b"})
    ('a', '1/a b')
    """
    for written in dict.fromkeys((name, unquote(name))):
        path = PurePosixPath(composed(written).replace("\\", "/"))
        parts = path.with_suffix("").parts if path.name else ()
        for start in range(len(parts)):
            if (key := "/".join(parts[start:])) in keys:
                return key
    return None


def rows_by_key(
    names: Sequence[str], keys: Collection[str], file: str, splits: Sequence[str] = (), split: str = ""
) -> tuple[dict[str, int], list[str]]:
    """The place of each image of a split among the names in a file, by its key, and what of either is not there.

    Args:
        names: as the file has them.
        keys: of the images.
        file: named in errors.
        splits: of the names, where the file says them.
        split: as the file calls it; where it knows of no such split, the names of all are looked at.

    Returns:
        the places, and lines for a user: names of which there is no image, and images that the file does not list.

    Raises:
        DataError: two names are of one image, or none of the names is of an image.
    """
    of_splits = list(map(composed, splits))
    chosen = [row for row in range(len(names)) if split not in of_splits or of_splits[row] == split]
    rows: dict[str, int] = {}
    absent = []
    for row in chosen:
        key = key_named(names[row], keys)
        if key is None:
            absent.append(names[row])
        elif rows.setdefault(key, row) != row:
            raise DataError(f"{file} lists image '{key}' twice; each is to be listed once")
    if not rows:
        raise DataError(f"{file}: its image {some(absent or ['none'])} is not among those of split '{split}'")
    notes = [f"{file}: its image {some(absent)} is left out: no such file"] if absent else []
    others = {key_named(name, keys) for name in names} if len(chosen) < len(names) else set()
    if unlisted := set(keys) - rows.keys() - others:
        notes.append(f"image {some(unlisted)} of split '{split}' is left out: {file} does not list it")
    return rows, notes
