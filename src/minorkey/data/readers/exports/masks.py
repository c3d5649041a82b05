"""Label images beside photographs: folders that are called as usual, those of mmsegmentation and of Roboflow."""

import csv
from collections.abc import Iterable, Sequence

import numpy as np

from minorkey.data.label_images import LABEL_SUFFIXES, read_ids
from minorkey.data.readers.exports.alike import alike
from minorkey.data.readers.exports.folder import Folder, Found, Row, stem
from minorkey.data.readers.exports.legends import mask_ids
from minorkey.data.readers.pairing import some
from minorkey.data.readers.splits import splits_of
from minorkey.errors import DataError

IMAGES = ("images", "image", "imgs", "img", "img_dir", "rgb", "inputs", "input", "frames", "photos")
MASKS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "ann_dir", "gt", "gts", "groundtruth"),
    *("ground_truth", "seg", "segmentation", "segmentations", "targets", "target"),
)
"""What folders of images and of label images are called, in any case."""

CLASS_LISTS = ("classes.txt", "class_names.txt", "labels.txt", "codes.txt")
"""Files with the name of a class in each line, in the order of their ids."""

TABLE = "class_dict.csv"
"""A table `name,r,g,b` of the colours of classes."""

PROBES = 500
"""Label images whose ids are looked at, where no file says the classes."""


def masks(folder: Folder) -> Found | None:
    """What a folder is as folders of images and of label images.

    Raises:
        DataError: label images are broken or painted in colours, or no label image has the name of an image.
    """
    tops = folder.folders()
    flat = _two(tops)
    if flat is not None:
        images, labels = flat
        inner = [name for name in folder.folders(images) if folder.images(f"{images}/{name}")]
        if inner and not any(name in folder.folders(labels) for name in inner):
            inner = [] if folder.in_folder(labels) else inner
        split = "{split}/" if inner and not folder.in_folder(images) else ""
        return _found(folder, f"{images}/{split}", f"{labels}/{split}", inner if split else [])
    parts = [top for top in tops if _two(folder.folders(top))]
    pairs = {_two(folder.folders(top)) for top in parts}
    if len(pairs) != 1 or (pair := pairs.pop()) is None:
        return None
    return _found(folder, f"{{split}}/{pair[0]}/", f"{{split}}/{pair[1]}/", parts)


def roboflow_masks(folder: Folder) -> Found | None:
    """What a folder is as Roboflow's masks: `a.jpg`, `a_mask.png` and `_classes.csv` in the folder of a split.

    Raises:
        DataError: a list of classes is broken, or two splits contradict.
    """
    splits = [top for top in folder.folders() if f"{top}/_classes.csv" in folder.addresses]
    splits = [top for top in splits if any(name.endswith("_mask.png") for name in folder.in_folder(top))]
    if not splits:
        return None
    legends = {top: _classes(folder, f"{top}/_classes.csv") for top in splits}
    first = next(iter(legends.values()))
    if other := next((top for top, legend in legends.items() if legend != first), None):
        raise DataError(
            f"{folder.where(f'{other}/_classes.csv')} contradicts that of '{splits[0]}'; export the splits anew"
        )
    row: Row = {
        "images": f"{folder.base}{{split}}/{{key}}.jpg",
        "labels": f"{folder.base}{{split}}/{{key}}_mask.png",
        "splits": splits_of(splits, folder.root),
        "ids": first,
    }
    return Found(f"{folder.where(f'{splits[0]}/_classes.csv')} says what the values in *_mask.png are", {"pixels": row})


def legend_of_masks(folder: Folder, labels: Sequence[str]) -> Row:
    """What the values in label images stand for, by a file that says it, or else by those that there are.

    Raises:
        DataError: they are broken, or painted in colours that no file explains.
    """
    colours, names = told_classes(folder)
    if colours:
        return {"colours": colours}
    probes = labels[:1] if names else labels[:: max(1, -(-len(labels) // PROBES))]
    ids = mask_ids(sorted(folder.scan(probes, _values)), names)
    return {"ids": ids, "ignores": ["ignore"] if "ignore" in ids.values() else []}


def told_classes(folder: Folder) -> tuple[dict[str, list[int]], list[str]]:
    """What a file beside label images says of their classes: name -> colour, or the names in the order of their ids.

    Raises:
        DataError: the file is broken.
    """
    if TABLE in folder.addresses:
        return _painted(folder, TABLE), []
    listing = next((name for name in CLASS_LISTS if name in folder.addresses), None)
    return {}, folder.lines(listing) if listing else []


def _two(folders: Iterable[str]) -> tuple[str, str] | None:
    """A folder of images and one of label images among these; None where there is not one of each."""
    by_name = {folder.lower(): folder for folder in folders}
    images, labels = ([by_name[name] for name in names if name in by_name] for names in (IMAGES, MASKS))
    return (images[0], labels[0]) if images and len(labels) == 1 else None


def _found(folder: Folder, images: str, labels: str, splits: Sequence[str]) -> Found | None:
    """The row of two folders; None where one of them holds no such files."""
    above = [place.partition("{split}")[0].rstrip("/") for place in (images, labels)]
    label_files = [name for name in folder.images(above[1]) if name.lower().endswith(tuple(LABEL_SUFFIXES))]
    if above[0] == above[1] == "":
        inside = labels.rpartition("{split}/")[2]
        label_files = [name for top in splits for name in folder.images(f"{top}/{inside}".rstrip("/"))]
    image_files = [name for name in folder.images(above[0]) if name not in set(label_files)]
    if not label_files or not image_files:
        return None
    names = alike([stem(name) for name in image_files], [stem(name) for name in label_files])
    if names is None:
        raise DataError(
            f"{folder.where(label_files[0])} has no image of its name among {len(image_files)}, e.g. "
            f"{some(image_files)}; name them alike, or say by `images` and `labels` in dataset.yaml how they are named"
        )
    row: Row = {
        "images": f"{folder.base}{images}{names[0]}.*",
        "labels": f"{folder.base}{labels}{names[1]}.*",
        "splits": splits_of(splits, folder.root) if splits else {"all": "all"},
    }
    labelled = [
        split for split in splits if any(name.startswith(labels.replace("{split}", split)) for name in label_files)
    ]
    unlabelled = [split for split, on_disk in row["splits"].items() if splits and on_disk not in labelled]
    if unlabelled:
        row["unlabelled"] = unlabelled
    legend = legend_of_masks(folder, label_files)
    return Found(
        f"{images}* and {labels}* of {folder.root} hold images and label images", {"pixels": {**row, **legend}}
    )


def _values(content: bytes, file: str) -> list[int]:
    try:
        return np.unique(read_ids(file, content)).tolist()
    except DataError as error:
        raise DataError(
            f"{error} (no file beside says the classes: looked for {', '.join(CLASS_LISTS)}, {TABLE})"
        ) from error


def _classes(folder: Folder, name: str) -> dict[int, str]:
    """Roboflow's `Pixel Value, Class`."""
    rows = _rows(folder, name)
    if not all(len(row) == 2 and row[0].isdecimal() for row in rows[1:]) or len(rows) < 2:
        raise DataError(f"{folder.where(name)} is no table `Pixel Value, Class`; export the data set anew")
    return {int(value): called for value, called in rows[1:]}


def _painted(folder: Folder, name: str) -> dict[str, list[int]]:
    """`name,r,g,b`."""
    rows = _rows(folder, name)
    if not all(len(row) == 4 and all(channel.isdecimal() for channel in row[1:]) for row in rows[1:]):
        raise DataError(f"{folder.where(name)} is no table `name,r,g,b`; mend it")
    return {called: [int(channel) for channel in channels] for called, *channels in rows[1:]}


def _rows(folder: Folder, name: str) -> list[list[str]]:
    return [[field.strip() for field in row] for row in csv.reader(folder.lines(name), skipinitialspace=True)]
