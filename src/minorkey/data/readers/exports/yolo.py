"""YOLO, as Ultralytics, Roboflow, CVAT and Label Studio write it: text files, and a file that names the classes."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from minorkey.data.readers.exports.folder import Folder, Found, Row, is_image
from minorkey.data.readers.exports.legends import numbered_ids, objects
from minorkey.data.readers.shapes.yolo import BOX
from minorkey.data.readers.splits import is_split, splits_of
from minorkey.data.readers.text import text_lines
from minorkey.errors import DataError
from minorkey.system.reading import LARGEST_YAML, reading, shown, text_of, yaml_of

CLASS_LISTS = ("classes.txt", "obj.names", "_darknet.labels", "train/_darknet.labels")
"""Files with the name of a class in each line."""

SUBSET = re.compile("obj_(.+)_data")
"""The folder of a subset, as CVAT writes YOLO 1.1."""

PROBES = 500
"""Text files that are looked into for outlines, evenly spread: those of images that show nothing are empty."""


def yolo(folder: Folder) -> Found | None:
    """What a folder is as YOLO.

    Raises:
        DataError: the file that names the classes is broken, or no split that it names is there.
    """
    told = _data_file(folder)
    if told is not None:
        file, content = told
        classes, places = classes_named(content["names"], content.get("nc"), file), _places(folder, content, file)
    else:
        listing = next((name for name in CLASS_LISTS if name in folder.addresses), None)
        places = _usual(folder)
        if listing is None or not places:
            return None
        file, classes = folder.where(listing), _by_line(folder, listing)
    images, labels, splits = _pattern(folder, places, file)
    row: Row = {"images": folder.base + images, "splits": splits}
    keypoints = told is not None and "kpt_shape" in told[1]
    form = "yolo_pose" if keypoints else "yolo"
    rows: dict[str, Row] = {"boxes": {**row, "boxes": form, "annotations": folder.base + labels, "classes": classes}}
    if unused := [name for name in classes.values() if name not in objects(classes.values())]:
        rows["boxes"]["ignores"] = unused
    if not keypoints and _has_outlines(folder, places):
        rows["pixels"] = {**row, "labels": folder.base + labels, "encoding": "yolo", "ids": numbered_ids(classes)}
    why = f"{file} names the classes of the text files beside the images"
    lists = [name for name in folder.in_folder("") if name.endswith(".txt") and is_split(name.removesuffix(".txt"))]
    if "all" in splits and len(lists) > 1:
        why += f"; {', '.join(lists)}: lists are not read, all images are one split"
    return Found(why, rows)


def _data_file(folder: Folder) -> tuple[str, dict[str, Any]] | None:
    """The file that says names and splits, as errors name it, and its content."""
    for name in folder.in_folder(""):
        if name.endswith((".yaml", ".yml")):
            content = folder.read(name)
            if len(content) <= LARGEST_YAML and b"names" in content:
                with reading(folder.where(name), "mend the file"):
                    values = yaml_of(text_of(content, LARGEST_YAML))
                if is_data_file(values):
                    return folder.where(name), values
    return None


def is_data_file(values: object) -> bool:
    """Whether YAML says names and splits, as YOLO's does; `dataset.yaml` may be one of these."""
    return isinstance(values, dict) and "names" in values and bool(values.keys() & {"train", "val", "test"})


def classes_named(names: Any, count: Any, file: str) -> dict[int, str]:
    """Number -> class, as `names` of a data file has them; `count` is its `nc`, or None.

    Raises:
        DataError: they are no classes, or not as many.
    """
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(str(key).isdecimal() for key in names):
        raise DataError(f"{file}: names is {shown(names)}, expected a list of classes, or a mapping of their numbers")
    if odd := [name for name in names.values() if isinstance(name, bool) or not isinstance(name, str | int)]:
        raise DataError(f"{file}: class {shown(odd[0])} is no text; write it in quotes")
    classes = {int(key): str(names[key]).strip() for key in sorted(names, key=int)}
    if isinstance(count, int) and count != len(classes):
        raise DataError(f"{file}: nc is {count}, but {len(classes)} classes have names; mend one of the two")
    return classes


def _places(folder: Folder, content: Mapping[str, Any], file: str) -> dict[str, str]:
    """Name of a split -> the folder of its images, wherever the paths in the file lead on the machine they are from."""
    places: dict[str, str] = {}
    missing: dict[str, Any] = {}
    for split in ("train", "val", "valid", "test"):
        said = content.get(split)
        for text in said if isinstance(said, list) else [said]:
            place = _place(folder, text, split) if isinstance(text, str) and text.strip() else None
            if place is None and text and split != "test":  # which tools name though they may have written none
                missing[split] = text
            if place is not None and isinstance(text, str) and text.endswith(".txt"):
                _check_list(folder, text, place, file)
            if place is not None and places.setdefault(split, place) != place:
                raise DataError(
                    f"{file}: split '{split}' is in {places[split]} and {place}; put its images into one folder"
                )
    if not places:
        said = shown(content.get("train", content.get("val")))
        raise DataError(
            f"{file}: none of its splits is there, e.g. {said}; put the images in images/train, or mend the path "
            "(a list of images is not read)"
        )
    for split, text in missing.items():
        raise DataError(f"{file}: split '{split}' is {shown(text)}, which is not there; mend or remove the line")
    return places


def _place(folder: Folder, text: str, split: str) -> str | None:
    """The folder of a split: the end of the path that is there; for a list of images, the folder named as the split."""
    parts = [part for part in text.strip().replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if parts and parts[-1].endswith(".txt"):
        parts = ["images", PurePosixPath(parts[-1]).stem]
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if end in folder.children and any(map(is_image, folder.images(end)))), None)


def _check_list(folder: Folder, text: str, place: str, file: str) -> None:
    """Refuse a list of other images than those of its folder, which is what is read."""
    listing = PurePosixPath(text).name
    if listing not in folder.addresses:
        return
    listed = {PurePosixPath(line.strip().replace("\\", "/")).name for line in folder.lines(listing)}
    there = {PurePosixPath(name).name for name in folder.images(place)}
    if other := sorted(listed ^ there):
        raise DataError(
            f"{file}: {listing} and {place} have not the same images, e.g. '{other[0]}'; it is the folder that is "
            "read: put the images of each split, with their text files, into one of its own"
        )


def _usual(folder: Folder) -> dict[str, str]:
    """The folders of images where nothing says them, by their splits; "" where there are none."""
    if "labels" in folder.folders() and "images" in folder.folders():
        splits = folder.folders("images")
        return {split: f"images/{split}" for split in splits} or {"": "images"}
    beside = {name: name for name in folder.folders() if is_split(name)}
    if subsets := {found[1]: name for name in folder.folders() if (found := SUBSET.fullmatch(name))}:
        return subsets if len(subsets) > 1 else {"": next(iter(subsets.values()))}
    return {name: place for name, place in beside.items() if any(_texts(folder, place))}


def _texts(folder: Folder, place: str) -> Iterator[str]:
    return (name for name in folder.in_folder(place) if name.endswith(".txt"))


def _pattern(folder: Folder, places: Mapping[str, str], file: str) -> tuple[str, str, dict[str, str]]:
    """The patterns of images and text files, and the splits with their names on disk."""
    paths = {split: place.split("/") for split, place in places.items()}
    first = next(iter(paths.values()))
    depths, differ = (
        {len(path) for path in paths.values()},
        [at for at in range(len(first)) if len({path[at] for path in paths.values() if at < len(path)}) > 1],
    )
    if len(depths) > 1 or len(differ) > 1:
        raise DataError(
            f"{file}: its splits are {', '.join(places.values())}, which are not alike; "
            "move them into images/train, images/val ..."
        )
    at = differ[0] if differ else next((at for at, part in enumerate(first) if is_split(part)), None)
    folders = list(first)
    named = at is not None and all(SUBSET.fullmatch(path[at]) for path in paths.values())
    if at is not None:
        folders[at] = "obj_{split}_data" if named else "{split}"
    texts = ["labels" if part == "images" else part for part in folders]
    on_disk = {split: path[at] if at is not None and not named else split for split, path in paths.items()}
    splits = splits_of(sorted(set(on_disk.values())), folder.root) if at is not None else {"all": "all"}
    return "/".join([*folders, "{key}.*"]), "/".join([*texts, "{key}.txt"]), splits


def _by_line(folder: Folder, listing: str) -> dict[int, str]:
    """The classes in a text file by the numbers of their lines from 0 on, which are their ids."""
    lines = text_lines(folder.read(listing), folder.where(listing))
    return {number: name for number, name in enumerate(lines) if name}


def _has_outlines(folder: Folder, places: Mapping[str, str]) -> bool:
    """Whether a line of some text files is longer than that of a box."""
    starts = tuple(f"{place}/".replace("images/", "labels/") for place in places.values())
    texts = sorted(name for name in folder.addresses if name.endswith(".txt") and name.startswith(starts))
    return any(folder.scan(texts[:: -(-len(texts) // PROBES) or 1], _outlines))


def _outlines(content: bytes, file: str) -> list[bool]:
    return [any(len(line.split()) > BOX + 1 for line in content.splitlines())]
