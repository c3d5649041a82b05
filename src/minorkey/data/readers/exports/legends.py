"""The classes of an export, as its row says them."""

from collections.abc import Iterable, Sequence

from minorkey.data.readers.spec import BACKGROUND
from minorkey.labels import plain_name


def drawn_ids(names: Iterable[str]) -> dict[int, str]:
    """Ids of shapes that are drawn: the background first, unless the export has one itself.

    >>> drawn_ids(["car", "road"]), drawn_ids(["car", "_background_"])
    ({0: 'background', 1: 'car', 2: 'road'}, {0: 'car', 1: '_background_'})
    """
    known = list(dict.fromkeys(names))
    return dict(enumerate(known if any(map(is_background, known)) else [BACKGROUND, *known]))


def numbered_ids(names: dict[int, str]) -> dict[int, str]:
    """Ids of shapes whose files hold numbers: the background first, under a number of its own.

    >>> numbered_ids({0: "car", 1: "road"})
    {2: 'background', 0: 'car', 1: 'road'}
    """
    if any(map(is_background, names.values())):
        return names
    return {max(names, default=-1) + 1: BACKGROUND, **names}


def is_background(name: str) -> bool:
    """Whether a class is what no shape covers."""
    return plain_name(name) == BACKGROUND


def objects(names: Iterable[str]) -> list[str]:
    """The classes that boxes can be of: neither the background nor what is ignored."""
    return [name for name in dict.fromkeys(names) if plain_name(name) not in (BACKGROUND, "ignore")]


def mask_ids(found: Sequence[int], names: Sequence[str]) -> dict[int, str]:
    """What the ids in label images stand for.

    Args:
        found: ids that some of them hold.
        names: the classes in the order of their ids, where a file says them.

    Returns:
        id -> class: 0 and 255, or 0 and 1, are background and foreground; of others, 255 is ignored.

    >>> mask_ids([0, 255], []), mask_ids([0, 2, 255], [])
    ({0: 'background', 255: 'foreground'}, {0: 'class_0', 1: 'class_1', 2: 'class_2', 255: 'ignore'})
    """
    if names:
        return {**dict(enumerate(names)), **({255: "ignore"} if len(names) < 256 else {})}
    if set(found) in ({0, 255}, {255}):
        return {0: BACKGROUND, 255: "foreground"}
    if set(found) in ({0, 1}, {1}):
        return {0: BACKGROUND, 1: "foreground", 255: "ignore"}
    classes = [number for number in found if number != 255]
    # Beyond a few, gaps are more likely meant than classes that are rare: such ids are grey levels.
    every = range(max(classes, default=0) + 1)
    shown = every if len(every) <= 2 * len(classes) + 10 else classes
    return {**{number: f"class_{number}" for number in shown}, 255: "ignore"}
