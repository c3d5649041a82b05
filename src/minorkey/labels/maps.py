"""Raw label files to train ids; what no map names is an error that says which file, what and how much."""

from pathlib import Path

import numpy as np

from minorkey.errors import DataError


def apply_id_map(raw: np.ndarray, lookup: np.ndarray, file: Path | str) -> np.ndarray:
    """Train ids of a label image.

    Args:
        raw: (H, W) ids of the data set, any integer type.
        lookup: (256,) int16 from `LabelSpace.id_map`.
        file: named in the error.

    Returns:
        (H, W) uint8 train ids.

    Raises:
        DataError: the file holds ids that no map names.
    """
    if raw.dtype == np.uint8 and (translated := _translated(raw, lookup)) is not None:
        return translated
    in_table = np.clip(raw, 0, 255)
    mapped = lookup[in_table]
    unnamed = (mapped < 0) | (raw != in_table)
    if unnamed.any():
        found = _counted(raw[unnamed], "id {}")
        raise DataError(f"{file}: no map names {found}; add it to the `ids` of the data set, as `ignore` if unused")
    return mapped.astype(np.uint8)


def ids_from_colours(rgb: np.ndarray, colours: np.ndarray, file: Path | str) -> np.ndarray:
    """Ids of a label image that was painted in class colours.

    Args:
        rgb: (H, W, 3) uint8.
        colours: (N, 3) RGB; the id of a colour is its row.
        file: named in the error.

    Returns:
        (H, W) uint8, rows of `colours`.

    Raises:
        DataError: the file holds colours that no map names.
    """
    pixels, known = _packed(rgb), _packed(colours)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known, pixels, sorter=order), len(known) - 1)
    ids = order[place]
    unnamed = known[ids] != pixels
    if unnamed.any():
        found = _counted(pixels[unnamed], "colour #{:06x}")
        raise DataError(f"{file}: no map names {found}; add it to the `colours` of the data set, as `ignore` if unused")
    return ids.astype(np.uint8)


def _translated(raw: np.ndarray, lookup: np.ndarray) -> np.ndarray | None:
    """Ids of one byte by way of a table of bytes, in a quarter of the time of indexing; None where one has no name."""
    nameless = lookup < 0
    # What stands for ids without a name is no train id: with such an id, at most 255 of the 256 values are one.
    mark = int(np.setdiff1d(np.arange(256), lookup)[0]) if nameless.any() else 0
    train_ids = bytearray(raw).translate(np.where(nameless, mark, lookup).astype(np.uint8).tobytes())
    if nameless.any() and mark in train_ids:
        return None
    return np.frombuffer(train_ids, np.uint8).reshape(raw.shape)


def _packed(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) colours as (...) integers 0xRRGGBB."""
    return np.asarray(rgb, np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def _counted(values: np.ndarray, form: str) -> str:
    """The most frequent values, e.g. `id 42 (118 pixels), id 7 (3 pixels)`."""
    unique, counts = np.unique(values, return_counts=True)
    often = np.argsort(-counts, kind="stable")[:3]
    shown = ", ".join(f"{form.format(unique[i])} ({counts[i]} pixels)" for i in often)
    return shown + (f" and {len(unique) - 3} more" if len(unique) > 3 else "")
