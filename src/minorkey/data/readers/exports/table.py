"""A table beside images: a CSV with the path of each and of its label image, one for all or one for each split."""

from pathlib import PurePosixPath

from minorkey.data.readers.exports.folder import Folder, Found, Row, is_image, stem
from minorkey.data.readers.exports.masks import legend_of_masks
from minorkey.data.readers.listed_pairs import COLUMNS
from minorkey.data.readers.splits import is_split, splits_of
from minorkey.data.readers.table import named_from, read_table
from minorkey.errors import DataError


def table(folder: Folder) -> Found | None:
    """What a folder is as tables of images and label images.

    Raises:
        DataError: a table or its label images are broken.
    """
    names = [name for name in folder.in_folder("") if name.lower().endswith(".csv") and _has_columns(folder, name)]
    if not names:
        return None
    rows = {name: [row for _, row in read_table(folder.files, folder.addresses[name], COLUMNS)] for name in names}
    masks = {name: [row["mask"] for row in rows[name] if row["mask"]] for name in names}
    if not any(is_image(mask) for found in masks.values() for mask in found[:1]):
        return None  # a table of classes: `label` may be either
    parts = [name for name in names if is_split(stem(name))]
    if len(parts) == len(names) > 1:
        splits = splits_of([stem(name) for name in names], folder.root)
        ends = {PurePosixPath(name).suffix for name in names}
        if len(ends) > 1:
            raise DataError(f"{folder.where(names[0])}: tables end in {' and '.join(sorted(ends))}; rename them alike")
        (end,) = ends
        row: Row = {"table": f"{folder.base}{{split}}{end}", "splits": splits}
        bare = [split for split, on_disk in splits.items() if not masks[f"{on_disk}{end}"]]
    elif len(names) > 1:
        raise DataError(
            f"{folder.root} has tables {', '.join(names[:3])}, of which not all are called as splits; rename them "
            "train.csv, val.csv, or say which one is meant in dataset.yaml: `table: NAME`"
        )
    else:
        parts = names[:1]
        told = sorted({each["split"] for each in rows[names[0]] if each.get("split")})
        row = {"table": folder.base + names[0], "splits": splits_of(told, folder.root) if told else {"all": "all"}}
        labelled = {each.get("split", "all") for each in rows[names[0]] if each["mask"]}
        bare = [split for split, on_disk in row["splits"].items() if on_disk not in labelled]
    places = sorted({each["domain"] for name in parts for each in rows[name] if each.get("domain")})
    row |= {"domains": {place: place for place in places}} if places else {}
    row |= {"unlabelled": bare} if bare else {}
    known = [mask for name in parts for place in masks[name] if (mask := _file(folder, place, name)) is not None]
    why = f"{folder.where(names[0])} names images and their masks"
    return Found(why, {"pixels": {**row, **legend_of_masks(folder, known)}})


def _has_columns(folder: Folder, name: str) -> bool:
    return any(COLUMNS.are_in(line) for line in folder.lines(name)[:1])


def _file(folder: Folder, place: str, table: str) -> str | None:
    return next(
        (name for name in named_from(place, table, folder.root / folder.base) if name in folder.addresses), None
    )
