"""How the names of label images are made from those of their images."""

from collections.abc import Collection

PROBES = 500
"""Names that have to fit."""


def alike(images: Collection[str], labels: Collection[str]) -> tuple[str, str] | None:
    """The patterns of names without suffix, of images and of label images; None where no label image has its image.

    Tried are what stands behind the names of label images, as in `a_mask`, then what stands around all names of each.

    >>> alike(["a", "b"], ["a_mask", "b_mask"]), alike(["rgb_1", "rgb_2"], ["gt_1", "gt_2"]), alike(["a"], ["b"])
    (('{key}', '{key}_mask'), ('rgb_{key}', 'gt_{key}'), None)
    """
    known, named = set(images), sorted(set(labels))
    first = named[0]
    for end in range(len(first), 0, -1):
        ending = first[end:]
        if first[:end] in known and all(
            name.endswith(ending) and name.removesuffix(ending) in known for name in named[:PROBES]
        ):
            return "{key}", f"{{key}}{ending}"
    if known.intersection(named):
        return "{key}", "{key}"
    (before, behind), (label_before, label_behind) = _around(known), _around(named)
    keys = {name[len(before) : len(name) - len(behind)] for name in known}
    fitting = (name[len(label_before) : len(name) - len(label_behind)] in keys for name in named[:PROBES])
    return (f"{before}{{key}}{behind}", f"{label_before}{{key}}{label_behind}") if all(fitting) else None


def _around(names: Collection[str]) -> tuple[str, str]:
    """What all names begin and end with, but for numbers, which are of the keys; nothing of a single name."""
    if len(names) < 2:
        return "", ""
    before = _start(names).rstrip("0123456789")
    return before, _start([name[len(before) :][::-1] for name in names])[::-1].lstrip("0123456789")


def _start(names: Collection[str]) -> str:
    """What all names begin with: what the first and the last of them, in order, do."""
    low, high = min(names), max(names)
    return low[: next((at for at, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), len(low))]
