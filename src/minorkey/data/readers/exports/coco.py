"""COCO JSON, as COCO itself, CVAT, Roboflow, Label Studio, Labelme's converters and many others write it."""

import re
from collections.abc import Iterator, Mapping

from minorkey.data.readers.exports.folder import Folder, Found, Row
from minorkey.data.readers.exports.legends import drawn_ids, objects
from minorkey.data.readers.exports.places import place_of_images
from minorkey.data.readers.shapes.sources import split_table
from minorkey.data.readers.shapes.table import ShapeTable
from minorkey.data.readers.splits import is_split, splits_of
from minorkey.errors import DataError

SURE = {
    "{split}/_annotations.coco.json": re.compile(r"(?P<split>[^/]+)/_annotations\.coco\.json"),
    "annotations/instances_{split}.json": re.compile(r"annotations/instances_(?P<split>[^/]+)\.json"),
    "instances_{split}.json": re.compile(r"instances_(?P<split>[^/]+)\.json"),
}
"""Names that are of COCO's form, or broken: pattern -> its expression."""

LIKELY = {
    "annotations/{split}.json": re.compile(r"annotations/(?P<split>[^/]+)\.json"),
    "{split}.json": re.compile(r"(?P<split>[^/]+)\.json"),
}
"""Those that may be: names of splits are looked into."""

ALONE = ("result.json", "annotations.json", "_annotations.coco.json", "labels.json", "annotations/annotations.json")
"""Those of all images."""


def coco(folder: Folder) -> Found | None:
    """What a folder is as COCO JSON.

    Raises:
        DataError: a file is broken, or none of its images is there.
    """
    for pattern, names in _candidates(folder):
        if tables := _tables(folder, names, sure=pattern in SURE):
            return _found(folder, pattern, tables)
    return None


def _candidates(folder: Folder) -> Iterator[tuple[str, dict[str, str]]]:
    """Pattern of annotations, and the files that match it by the name of their split on disk."""
    for pattern, form in (*SURE.items(), *LIKELY.items()):
        matches = {match["split"]: name for name in folder.addresses if (match := form.fullmatch(name))}
        if pattern in LIKELY:
            matches = {split: name for split, name in matches.items() if is_split(split)}
        yield pattern, matches
    for above in ({name for name in folder.folders() if is_split(name)},):
        named = {name.rpartition("/")[2] for top in above for name in folder.in_folder(top) if name.endswith(".json")}
        if len(named) == 1:
            file = named.pop()
            yield (
                f"{{split}}/{file}",
                {top: f"{top}/{file}" for top in sorted(above) if f"{top}/{file}" in folder.addresses},
            )
    lone = [name for name in folder.in_folder("") if name.endswith(".json")]
    for name in (*ALONE, *(lone if len(lone) == 1 else ())):
        yield name, {"": name} if name in folder.addresses else {}


def _tables(folder: Folder, names: Mapping[str, str], *, sure: bool) -> dict[str, ShapeTable]:
    tables = {}
    for split, name in names.items():
        try:
            tables[split] = split_table(folder.files, "coco", folder.addresses[name])
        except DataError:
            if sure:
                raise
            return {}
    return tables


def _found(folder: Folder, pattern: str, tables: Mapping[str, ShapeTable]) -> Found:
    names = list(dict.fromkeys(name for table in tables.values() for name in table.names))
    several = "{split}" in pattern
    splits = splits_of(sorted(tables), folder.root) if several else {"all": "all"}
    file = next(iter(tables.values())).file
    files = {split: table.file for split, table in tables.items()}
    listed = {split: table.images for split, table in tables.items()}
    images = place_of_images(folder, files, listed)
    row: Row = {"images": folder.base + images, "splits": splits}
    rows = {"boxes": {**row, "boxes": "coco", "annotations": folder.base + pattern}}
    if any(row != b"[]" for table in tables.values() for row in table.rows):
        rows["pixels"] = {**row, "labels": folder.base + pattern, "encoding": "coco", "ids": drawn_ids(names)}
    if unused := [name for name in names if name not in objects(names)]:
        rows["boxes"]["ignores"] = unused
    return Found(f"{file} lists images, annotations and categories", rows)
