"""CVAT for images 1.1, Labelme and Supervisely: shapes in XML for all images, or in JSON beside each."""

import json
import re
from pathlib import PurePosixPath

from minorkey.data.readers.exports.folder import Folder, Found, Row, is_image, stem
from minorkey.data.readers.exports.legends import drawn_ids, objects
from minorkey.data.readers.exports.places import place_of_images
from minorkey.data.readers.shapes.sources import split_table
from minorkey.data.readers.splits import is_split, splits_of
from minorkey.errors import DataError
from minorkey.system.reading import reading

LABEL = re.compile(rb'"label"\s*:\s*("(?:[^"\\]|\\.)*")')
"""The class of a shape: whole files hold their image too, and take long to read."""

CVAT, MARK = "annotations.xml", b"<annotations"

META = "meta.json"
"""Of a project of Supervisely."""

LABELME = {
    "{split}/{key}.*": "{split}/{key}.json",
    "images/{split}/{key}.*": "(annotations|labels|json)/{split}/{key}.json",
    "images/{key}.*": "(annotations|labels|json)/{key}.json",
    "{key}.*": "{key}.json",
}
"""Where Labelme's files lie beside images."""


def cvat(folder: Folder) -> Found | None:
    """What a folder is as 'CVAT for images 1.1'.

    Raises:
        DataError: the file is broken, or none of its images is there.
    """
    if CVAT not in folder.addresses or MARK not in folder.read(CVAT)[:1000]:
        return None
    table = split_table(folder.files, "cvat", folder.addresses[CVAT])
    told = sorted({split for split in table.splits if split})
    splits = splits_of(told, folder.root) if told else {"all": "all"}
    parts = {
        split: [name for name, of in zip(table.images, table.splits, strict=True) if of == split] for split in told
    }
    listed = parts or {"": table.images}
    images = place_of_images(folder, dict.fromkeys(listed, table.file), listed)
    row: Row = {"images": folder.base + images, "splits": splits}
    file = folder.base + CVAT
    names = list(table.names)
    rows = {"boxes": {**row, "boxes": "cvat", "annotations": file}}
    if unused := [name for name in names if name not in objects(names)]:
        rows["boxes"]["ignores"] = unused
    if any(shape in text for text in table.rows for shape in (b"<polygon", b"<mask", b"<ellipse")):
        rows["pixels"] = {**row, "labels": file, "encoding": "cvat", "ids": drawn_ids(names)}
    return Found(f"{table.file} lists images with their shapes", rows)


def labelme(folder: Folder) -> Found | None:
    """What a folder is as Labelme's JSON files.

    Raises:
        DataError: a file is broken.
    """
    for images, text in LABELME.items():
        expression = re.escape(text).replace(r"\{split\}", "(?P<split>[^/]+)").replace(r"\{key\}", "[^/]+")
        form = re.compile(expression.replace(r"\(", "(?:").replace(r"\)", ")").replace(r"\|", "|"))
        matches = {name: match.groupdict() for name in folder.addresses if (match := form.fullmatch(name))}
        if "{split}" in text:
            matches = {name: fields for name, fields in matches.items() if is_split(fields["split"])}
        beside = {stem(name) for name in folder.addresses if is_image(name)}
        found = sorted(name for name in matches if stem(name) in beside)
        if not found or b'"shapes"' not in folder.read(found[0]):
            continue
        place = text if "(" not in text else found[0].partition("/")[0] + text.partition(")")[2]
        told = sorted({matches[name]["split"] for name in found if "split" in matches[name]})
        row: Row = {"images": folder.base + images, "splits": splits_of(told, folder.root) if told else {"all": "all"}}
        names, files = sorted(folder.scan(found, _names)), folder.base + place
        if not names:
            return None
        rows = {
            "boxes": {**row, "boxes": "labelme", "annotations": files, "classes": objects(names)},
            "pixels": {**row, "labels": files, "encoding": "labelme", "ids": drawn_ids(names)},
        }
        return Found(f"{folder.where(found[0])} holds the shapes of the image of its name", rows)
    return None


def supervisely(folder: Folder) -> Found | None:
    """What a folder is as a project of Supervisely: data sets, each with `img/` and `ann/`, and their `meta.json`.

    Raises:
        DataError: `meta.json` names no classes, or no image has its file.
    """
    sets = [top for top in folder.folders() if {"img", "ann"} <= set(folder.folders(top))]
    if META not in folder.addresses or not sets:
        return None
    names = _titles(folder)
    images = [name for top in sets for name in folder.images(f"{top}/img")]
    if not any(f"{name.replace('/img/', '/ann/', 1)}.json" in folder.addresses for name in images):
        raise DataError(
            f"{folder.root}: no image in {sets[0]}/img has its file in {sets[0]}/ann; export the project anew"
        )
    endings = {PurePosixPath(name).suffix for name in images}
    ending = endings.pop() if len(endings) == 1 else ""  # of several, each is a part of the key
    if len(sets) == 1 and not is_split(sets[0]):
        place, which = sets[0], {"splits": {"all": "all"}}
    elif all(map(is_split, sets)):
        place, which = "{split}", {"splits": splits_of(sets, folder.root)}
    else:
        place, which = "{domain}", {"domains": {name: name for name in sets}, "splits": {"all": "all"}}
    files = f"{folder.base}{place}/ann/{{key}}{ending}.json"
    row: Row = {"images": f"{folder.base}{place}/img/{{key}}{ending}", **which}
    rows = {
        "boxes": {**row, "boxes": "supervisely", "annotations": files, "classes": objects(names)},
        "pixels": {**row, "labels": files, "encoding": "supervisely", "ids": drawn_ids(names)},
    }
    return Found(f"{folder.where(META)} names the classes of {', '.join(sets[:3])}", rows)


def _titles(folder: Folder) -> list[str]:
    """The classes in the `meta.json` of a project."""
    where = folder.where(META)
    with reading(where, "mend or replace the file"):
        meta = json.loads(folder.read(META))
    rows = meta.get("classes") if isinstance(meta, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("title") for row in rows) or not rows:
        raise DataError(f"{where} names no `classes` with a `title`; export the project anew")
    return [str(row["title"]).strip() for row in rows]


def _names(content: bytes, file: str) -> list[str]:
    with reading(file, "mend or replace the file"):
        return [json.loads(label).strip() for label in LABEL.findall(content)]
