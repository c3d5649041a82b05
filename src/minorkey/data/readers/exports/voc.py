"""Pascal VOC, as its makers, CVAT (also as 'Segmentation mask'), Roboflow, LabelImg and Labelme's scripts write it."""

import re
from collections.abc import Iterable

from minorkey.data.readers.exports.folder import Folder, Found, Row, is_image, stem
from minorkey.data.readers.exports.legends import is_background, objects
from minorkey.data.readers.exports.masks import legend_of_masks
from minorkey.data.readers.splits import is_split, splits_of
from minorkey.errors import DataError
from minorkey.labels import label_space
from minorkey.system.reading import reading, xml_of

MASKS = ("SegmentationClassPNG", "SegmentationClass")
BORDER = [224, 224, 192]
"""The colour of 255 in the palette of Pascal VOC: what lies between objects, and what was too hard to label."""

BESIDE = {
    "images/{split}/{key}.*": "annotations/{split}/{key}.xml",
    "images/{key}.*": "annotations/{key}.xml",
    "{split}/images/{key}.*": "{split}/annotations/{key}.xml",
    "{split}/{key}.*": "{split}/{key}.xml",
    "{key}.*": "{key}.xml",
}
"""Where files of boxes lie beside images, where there is no folder JPEGImages."""


def voc(folder: Folder) -> Found | None:
    """What a folder is as Pascal VOC.

    Raises:
        DataError: a file is broken.
    """
    if "JPEGImages" not in folder.folders():
        return _beside(folder)
    rows: dict[str, Row] = {}
    masks = next((name for name in MASKS if name in folder.folders() and folder.images(name)), None)
    if masks is not None:
        row = _lists(folder, "Segmentation")
        legend = _colours(folder) or _listed(folder) or _of_voc(folder) or legend_of_masks(folder, folder.images(masks))
        rows["pixels"] = {**row, "labels": f"{folder.base}{masks}/{{key}}.png", **legend}
    files = [name for name in folder.addresses if name.startswith("Annotations/") and name.endswith(".xml")]
    if files:
        names = _names_in(folder, files)
        row = _lists(folder, "Main")
        rows["boxes"] = {
            **row,
            "boxes": "voc",
            "annotations": f"{folder.base}Annotations/{{key}}.xml",
            "classes": names,
        }
    if not rows or (list(rows) == ["boxes"] and not rows["boxes"]["classes"]):
        return None
    told = " and ".join(name for name in (masks, "Annotations" if "boxes" in rows else None) if name)
    return Found(f"{folder.root} holds JPEGImages with {told}", rows)


def _lists(folder: Folder, kind: str) -> Row:
    """Images, and the lists of their splits; those of one class, as `car_train.txt`, are no splits."""
    images = f"{folder.base}JPEGImages/{{key}}.*"
    named = {stem(name): name for name in folder.in_folder(f"ImageSets/{kind}") if name.endswith(".txt")}
    whole = {name for name in named if name.rpartition("_")[2] not in named or name.rpartition("_")[0] == ""}
    whole = {name for name in whole if folder.read(named[name]).strip()}
    if not whole:
        return {"images": images, "lists": None, "splits": {"all": "all"}}
    splits = splits_of(sorted(whole), folder.root)
    return {"images": images, "lists": f"{folder.base}ImageSets/{kind}/{{split}}.txt", "splits": splits}


def _colours(folder: Folder) -> Row:
    """The colours of `labelmap.txt`: `name:r,g,b:parts:actions` in a line."""
    if "labelmap.txt" not in folder.addresses:
        return {}
    colours: dict[str, list[int]] = {}
    for place, line in enumerate(folder.lines("labelmap.txt"), 1):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        channels = rest.partition(":")[0].split(",")
        if not name or len(channels) != 3 or not all(channel.strip().isdecimal() for channel in channels):
            raise DataError(f"{folder.where('labelmap.txt')}: line {place} is no `name:r,g,b::`; mend it")
        colours[name.strip()] = [int(channel) for channel in channels]
    if "ignore" not in colours and BORDER not in colours.values():
        colours["ignore"] = BORDER
    return {
        "ignores": ["ignore"],
        "colours": dict(sorted(colours.items(), key=lambda item: not is_background(item[0]))),
    }


def _listed(folder: Folder) -> Row:
    """The ids of `class_names.txt`, as Labelme's scripts write it: `__ignore__` before the first class."""
    if "class_names.txt" not in folder.addresses:
        return {}
    names = [name for name in folder.lines("class_names.txt") if name.strip("_") != "ignore"]
    return {"ids": {**dict(enumerate(names)), 255: "ignore"}, "ignores": ["ignore"]}


def _of_voc(folder: Folder) -> Row:
    """Those of Pascal VOC itself, where the boxes beside are of its classes."""
    files = [name for name in folder.addresses if name.startswith("Annotations/") and name.endswith(".xml")]
    classes = label_space("voc20").classes
    if not files or not set(_names_in(folder, files)) <= set(classes):
        return {}
    return {"ids": {0: "background", **dict(enumerate(classes, 1)), 255: "ignore"}, "ignores": ["ignore"]}


def _beside(folder: Folder) -> Found | None:
    """Files of boxes beside the images."""
    photographs = {stem(name) for name in folder.addresses if is_image(name)}
    for images, boxes in BESIDE.items():
        form = re.compile(re.escape(boxes).replace(r"\{split\}", "(?P<split>[^/]+)").replace(r"\{key\}", "[^/]+"))
        found = {name: match for name in folder.addresses if (match := form.fullmatch(name))}
        found = {name: match for name, match in found.items() if stem(name) in photographs}
        several = "{split}" in boxes
        if several:
            found = {name: match for name, match in found.items() if is_split(match["split"])}
        if not found or not all(folder.scan(sorted(found)[:1], _is_voc)):
            continue
        names = _names_in(folder, found)
        splits = (
            splits_of(sorted({match["split"] for match in found.values()}), folder.root) if several else {"all": "all"}
        )
        if not names:
            return None
        row = {"images": folder.base + images, "annotations": folder.base + boxes, "splits": splits}
        why = f"{folder.where(min(found))} holds boxes of the image of its name"
        return Found(why, {"boxes": {**row, "boxes": "voc", "lists": None, "classes": names}})
    return None


def _names_in(folder: Folder, files: Iterable[str]) -> list[str]:
    """The classes that files of boxes name, sorted, or those of the label map in its order."""
    if colours := _colours(folder):
        return objects(colours["colours"])
    return sorted(folder.scan(sorted(files), _names))


def _names(content: bytes, file: str) -> list[str]:
    with reading(file, "mend or remove it"):
        return [name for node in xml_of(content).iterfind("object/name") if (name := (node.text or "").strip())]


def _is_voc(content: bytes, file: str) -> list[bool]:
    with reading(file, "mend or remove it"):
        return [xml_of(content).tag == "annotation"]
