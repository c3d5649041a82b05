"""Boxes: in which form they are written, and of which classes."""

import os
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from minorkey.data.images import IMAGE_SUFFIXES
from minorkey.data.readers.boxes.kitti import FIELDS, read_kitti
from minorkey.data.readers.boxes.voc import read_voc
from minorkey.data.readers.exports.yolo import classes_named
from minorkey.data.readers.files import Files
from minorkey.data.readers.splits import SPLITS
from minorkey.data.readers.text import text_lines
from minorkey.datacheck.guess.guess import TOP, Guess, line
from minorkey.datacheck.guess.masks import splits_line
from minorkey.datacheck.guess.names import Group, Pairs, groups_of, named_splits, paired
from minorkey.errors import DataError, printable
from minorkey.labels.written import checked_names
from minorkey.system.reading import json_of, reading, yaml_of

NAME_FILES = ("data.yaml", "data.yml", "classes.txt", "obj.names", "labels/classes.txt", "_darknet.labels")
"""Where tools write the classes of YOLO, in the order of their ids."""

PARTS = ("images", "annotations", "categories")
"""The lists that a file of COCO has."""

LISTS = "ImageSets/Main/{split}.txt"
"""The lists of splits that Pascal VOC has."""

OF_SPLIT = re.compile(rf"(?<![a-z])(?:{'|'.join(sorted(SPLITS, key=len, reverse=True))})(?:\d{{4}})?(?![a-z\d])", re.I)
"""What says in the name of a file of which split it is."""


def guess_boxes(files: Files) -> Guess | None:
    """Boxes in the form of YOLO, KITTI, Pascal VOC or COCO; None: there are none.

    Raises:
        DataError: a file is broken.
    """
    names = files.names("")
    photos = groups_of(names, IMAGE_SUFFIXES)
    for suffix, guess in ((".txt", _of_lines), (".xml", _of_voc)):
        pairs = paired(photos, groups_of(names, {suffix}))
        if pairs is not None and (found := guess(files, names, pairs)):
            return found
    return _of_coco(files, names, photos)


def _of_lines(files: Files, names: dict[str, str], pairs: Pairs) -> Guess | None:
    """YOLO or KITTI, by the number of fields."""
    lines = [row.split() for name in pairs.found for row in text_lines(files.read(names[name]), name) if row]
    if lines and all(len(row) in FIELDS for row in lines):
        found = {one for name in pairs.found for one in read_kitti(files.read(names[name]), name, {}, (1, 1)).names}
        rest = line("crowds", {"any": ["DontCare"]}) if "DontCare" in found else ""
        return _guess("kitti", pairs, line("classes", sorted(found - {"DontCare"})) + rest)
    ids = {int(row[0]) if row[0].isdecimal() else None for row in lines if len(row) == 5}
    if not ids or None in ids or any(len(row) != 5 for row in lines):
        return None
    named = _names_of_yolo(files, names) or [
        f"class_{number}" for number in range(max(filter(None, [0, *ids]), default=0) + 1)
    ]
    comment = "in the order of their ids" if isinstance(named, list) else "by their ids"
    return _guess("yolo", pairs, line("classes", named, comment))


def _names_of_yolo(files: Files, names: dict[str, str]) -> list[str] | dict[int, str]:
    """The classes in the file that a tool wrote them to, by their ids where these have gaps; none without one."""
    name = next((name for name in NAME_FILES if name in names), None)
    if name is None:
        return []
    content, where = files.read(names[name]), files.where(names[name])
    if not name.endswith(("yaml", "yml")):
        return [row for row in text_lines(content, where) if row]
    with reading(where, "mend the file"):
        values = yaml_of(content)
        if not isinstance(values, dict) or not values.get("names"):
            return []
        classes = classes_named(values["names"], values.get("nc"), where)
        return checked_names(list(classes.values())) if list(classes) == list(range(len(classes))) else classes


def _of_voc(files: Files, names: dict[str, str], pairs: Pairs) -> Guess | None:
    classes: set[str] = set()
    for name in pairs.found:
        content, where = files.read(names[name]), files.where(names[name])
        if b"<annotation" not in content[:2048]:
            return None
        classes.update(read_voc(content, where, {}, (1, 1)).names)
    listed = any(re.fullmatch(re.escape(LISTS).replace(r"\{split\}", "[a-z]+"), name) for name in names)
    rest = line("classes", sorted(classes), "the names that occur") if classes else ""
    return _guess("voc", pairs, rest, lists=LISTS if listed else None)


def _guess(form: str, pairs: Pairs, rest: str, **more: Any) -> Guess:
    listed = bool(more.get("lists"))
    text = TOP + line("boxes", form) + line("images", pairs.images) + line("annotations", pairs.labels)
    text += "".join(line(key, value) for key, value in more.items())
    text += "" if listed else splits_line(pairs)
    return Guess("detection", f"{len(pairs.found)} images with boxes written as {form.upper()}", text + rest)


def _of_coco(files: Files, names: dict[str, str], photos: list[Group]) -> Guess | None:
    """By the files with images, annotations and categories; of each split, one."""
    found: dict[str, tuple[str, list[str]]] = {}
    categories: list[str] = []
    for name in sorted(names, key=lambda name: ("instances" not in name, name)):
        if name.lower().endswith(".json") and (document := _coco(files.read(names[name]))):
            match = OF_SPLIT.search(name)
            pattern = name if match is None else f"{name[: match.start()]}{{split}}{name[match.end() :]}"
            if not found or pattern == next(iter(found.values()))[0]:
                found[match[0] if match else ""] = (pattern, [str(row["file_name"]) for row in document["images"]])
                categories += [str(row["name"]) for row in document["categories"]]
    if not found:
        return None
    pattern = next(iter(found.values()))[0]
    group = max(
        photos, key=lambda group: sum(_held(group, split, those) for split, (_, those) in found.items()), default=None
    )
    if group is None:
        raise DataError(f"{files.root}: {pattern} names images, and none lie in this folder; put them there")
    splits = {} if list(found) == [""] else named_splits(found)
    pairs = Pairs(
        f"{group.folder}{{key}}.*", pattern, splits, [], [name for _, those in found.values() for name in those], 0
    )
    classes = printable(", ".join(dict.fromkeys(categories)))  # which end no comment
    note = f"# Its classes: {classes}. Leave some out by `ignores: [...]`.\n"
    return _guess("coco", pairs, note)


def _coco(content: bytes) -> dict[str, Any] | None:
    """What a file in the form of COCO says of its images and categories; None: it is of another form."""
    try:
        document = json_of(content, finite=False)
        fits = all(isinstance(document.get(part), list) for part in PARTS)
        named = fits and all(row.get("file_name") for row in document["images"])
        return document if named and all(row.get("name") for row in document["categories"]) else None
    except (ValueError, AttributeError, MemoryError):
        return None


def _held(group: Group, split: str, images: Iterable[str]) -> int:
    """How many of the images that a file names are in a group, with folders above them or without."""
    keys = group.files.get(split if "{split}" in group.folder else "", {})
    tails = (PurePosixPath(os.path.splitext(name.replace("\\", "/"))[0]).parts for name in images)
    return sum(any("/".join(parts[start:]) in keys for start in range(len(parts))) for parts in tails)
