"""Where the boxes of an image come from: the file of its split, or its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from minorkey.data.readers.boxes.bdd100k import read_bdd100k
from minorkey.data.readers.boxes.coco import read_coco
from minorkey.data.readers.boxes.kitti import read_kitti
from minorkey.data.readers.boxes.objects import Objects, Parse
from minorkey.data.readers.boxes.outlines import read_outlines
from minorkey.data.readers.boxes.spec import BoxSpec
from minorkey.data.readers.boxes.table import SplitTable
from minorkey.data.readers.boxes.voc import read_voc
from minorkey.data.readers.boxes.yolo import read_yolo
from minorkey.data.readers.files import Files
from minorkey.data.readers.pairing import (
    ANNOTATION_SUFFIXES,
    Found,
    NoSplit,
    find_beside,
    find_one,
    hint,
    need_all,
    some,
)
from minorkey.data.readers.pattern import Pattern
from minorkey.data.readers.text import composed
from minorkey.errors import DataError
from minorkey.labels.space import distinct
from minorkey.system.reading import reading

SPLIT_FILES: Mapping[str, Callable[[bytes, str], SplitTable]] = {"coco": read_coco, "bdd100k": read_bdd100k}
IMAGE_FILES: Mapping[str, Parse] = {
    "voc": read_voc,
    "yolo": read_yolo,
    "kitti": read_kitti,
    "polygons": read_outlines,
}


@dataclass(frozen=True)
class OfSplit:
    """Boxes that were read when the data set was opened."""

    table: SplitTable
    rows: Mapping[str, int]  # key of an image -> its place in the table
    names: list[str]  # the classes in question
    notes: list[str]

    def objects(self, key: str, size: tuple[int, int]) -> Objects:
        """The objects of the image with this key."""
        return self.table.objects(self.rows[key])


@dataclass(frozen=True)
class OfImages:
    """Boxes that are read with their images."""

    files: Files
    parse: Parse
    addresses: Mapping[str, str]  # key of an image -> address of its file; none: it shows no objects
    classes: dict[int, str]
    names: list[str]  # the classes in question
    notes: list[str]

    def objects(self, key: str, size: tuple[int, int]) -> Objects:
        """The objects of the image with this key; `size` is its width and height in pixels.

        Raises:
            DataError: its file is broken.
        """
        address = self.addresses.get(key)
        if address is None:
            return Objects.of(key, "line", [])
        with reading(where := self.files.where(address), "mend or replace the file"):
            return self.parse(self.files.read(address), where, self.classes, size)


def open_boxes(files: Files, spec: BoxSpec, split: str, place: str, images: Found) -> tuple[OfSplit | OfImages, Found]:
    """Find the boxes of the images of a split.

    Args:
        files: what lies below the root of the data set.
        spec: how its files are named.
        split: one of its splits.
        place: one of its domains, "" where it is one itself.
        images: of the split.

    Returns:
        where boxes come from, and the images that are annotated.

    Raises:
        DataError: a file is missing, or the one of the split is broken or names none of the images.
    """
    pattern = Pattern(spec.annotations, ANNOTATION_SUFFIXES, spec.known(split, place))
    return (_of_split if spec.boxes in SPLIT_FILES else _of_images)(files, spec, split, pattern, images)


def classes_named(files: Files, spec: BoxSpec, split: str, place: str) -> tuple[str, ...]:
    """The classes of a data set as they are listed in `spec` or, in COCO, in the file of a split.

    What it ignores, or reads as `ignore` or as a crowd where not known, is not among them.

    Raises:
        DataError: that file is missing or broken.
    """
    names = list(spec.classes.values())
    if spec.boxes == "coco":
        pattern = Pattern(spec.annotations, ANNOTATION_SUFFIXES, spec.known(split, place))
        names = _table(files, spec, split, pattern).names
    crowds = [name for those in spec.crowds.values() for name in those]
    return distinct(names, ["ignore", *spec.ignores, *spec.read_as.get("ignore", []), *crowds])


def _of_split(files: Files, spec: BoxSpec, split: str, pattern: Pattern, images: Found) -> tuple[OfSplit, Found]:
    table = _table(files, spec, split, pattern)
    file = table.file
    keys = {of for of, _ in images.values()}
    rows, absent = _rows(table, keys)
    if not rows:
        raise DataError(f"{file}: its image {some(absent or ['none'])} is not among those of split '{split}'")
    notes = [f"{file}: its image {some(absent)} is left out: no such file"] if absent else []
    if unlisted := keys - rows.keys():
        notes.append(f"image {some(unlisted)} of split '{split}' is left out: {file} does not list it")
    notes += table.notes
    if spec.drop_empty and table.empty:
        notes.append(f"{file}: {table.empty} boxes without area are left out")
    annotated = {key: (of, image) for key, (of, image) in images.items() if of in rows}
    names = table.names if spec.boxes == "coco" else spec.names
    return OfSplit(table, rows, names, notes), annotated


def _rows(table: SplitTable, keys: set[str]) -> tuple[dict[str, int], list[str]]:
    """The place of each image in a table by its key, and the names in it that are of no image."""
    rows: dict[str, int] = {}
    absent = []
    for row, name in enumerate(table.images):
        key = _key(name, keys)
        if key is None:
            absent.append(name)
        elif rows.setdefault(key, row) != row:
            raise DataError(f"{table.file} lists image '{key}' twice; each is to be listed once")
    return rows, absent


def _table(files: Files, spec: BoxSpec, split: str, pattern: Pattern) -> SplitTable:
    """What the file of a split says."""
    address = find_one(files, pattern)
    if address is None:
        # Images in one folder for all splits do not say that there is this one.
        raise (DataError if "{split}" in spec.images else NoSplit)(
            f"{files.root}: no annotations of split '{split}'; expected {pattern.example('*')}{hint(files)}"
        )
    file = files.where(address)
    with reading(file, "mend or replace the file"):
        return SPLIT_FILES[spec.boxes](files.read(address), file)


def _of_images(files: Files, spec: BoxSpec, split: str, pattern: Pattern, images: Found) -> tuple[OfImages, Found]:
    found = find_beside(files, pattern)
    keys = {of for of, _ in images.values()}
    notes = []
    # An image without objects has no file in YOLO; where no image has one, they lie elsewhere.
    if spec.boxes != "yolo" or keys.isdisjoint(found):
        need_all(files, images, found, pattern, split)
    elif alone := keys - found.keys():
        notes.append(f"image {some(alone)} of split '{split}' has no file of boxes: it counts as without objects")
    if spec.lists is None and (spare := found.keys() - keys - spec.skips.keys()):
        notes.append(f"boxes {some(spare)} of split '{split}' are left out: no image")
    addresses = {of: found[of] for of in sorted(keys & found.keys())}
    return OfImages(files, IMAGE_FILES[spec.boxes], addresses, spec.classes, spec.names, notes), images


def _key(name: str, keys: set[str]) -> str | None:
    """The key of an image that a file names with or without folders above it; None if there is no such image."""
    path = PurePosixPath(composed(name).replace("\\", "/"))
    parts = path.with_suffix("").parts if path.name else ()
    return next((key for start in range(len(parts)) if (key := "/".join(parts[start:])) in keys), None)
