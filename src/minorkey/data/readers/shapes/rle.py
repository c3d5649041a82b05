"""Masks as lengths of runs of pixels that are by turns outside and inside, outside first."""

from typing import Any

import numpy as np

from minorkey.errors import DataError
from minorkey.system.reading import shown

FIRST, MORE, SIGN, BITS = 48, 0x20, 0x10, 5
"""Of COCO's text: its first sign, the bits that say that a number goes on and that it is negative, bits in a sign."""


def coco_mask(rle: Any, shape: tuple[int, int], where: str) -> np.ndarray:
    """The mask of COCO's `{"counts": ..., "size": [height, width]}`, whose runs go down the columns.

    Args:
        rle: with counts as a list, or as text.
        shape: height and width of the image.
        where: named in errors.

    Returns:
        (H, W) bool.

    Raises:
        DataError: it is none, of another size, or its runs do not fill it.
    """
    size, counts = (rle.get("size"), rle.get("counts")) if isinstance(rle, dict) else (None, None)
    if size != list(shape) or not isinstance(counts, list | str):
        raise DataError(
            f"{where}: a mask needs `counts`, and `size` {list(shape)} as its image, it has {shown(size)}; mend or "
            "remove it"
        )
    height, width = shape
    runs = _runs_of_text(counts, where) if isinstance(counts, str) else counts
    return filled(runs, height * width, where).reshape(width, height).T


def filled(runs: list[int], length: int, where: str) -> np.ndarray:
    """Runs as (length,) bool.

    Raises:
        DataError: they are no whole numbers of 0 or more, or their sum is another.
    """
    if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != length:
        raise DataError(f"{where}: the runs of its mask do not fill {length} pixels; mend or remove it")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs)


def _runs_of_text(text: str, where: str) -> list[int]:
    """COCO's compressed counts: 5 bits in a sign, low ones first; from the fourth on, less the last but one."""
    runs: list[int] = []
    value = shift = 0
    for sign in text:
        bits = ord(sign) - FIRST
        if not 0 <= bits < 1 << (BITS + 1) or shift > 60:
            raise DataError(f"{where}: the counts of its mask are no text of COCO; mend or remove it")
        value |= (bits & (MORE - 1)) << shift
        shift += BITS
        if bits & MORE:
            continue
        if bits & SIGN:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
