"""Where the boxes of an image come from: the file of its split, or its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from minorkey.data.readers.boxes.bdd100k import read_bdd100k
from minorkey.data.readers.boxes.coco import read_coco
from minorkey.data.readers.boxes.extents import boxes_around, read_cvat_boxes
from minorkey.data.readers.boxes.kitti import read_kitti
from minorkey.data.readers.boxes.objects import Objects, Parse
from minorkey.data.readers.boxes.outlines import read_outlines
from minorkey.data.readers.boxes.spec import SELF_NAMED, BoxSpec
from minorkey.data.readers.boxes.table import SplitTable
from minorkey.data.readers.boxes.voc import read_voc
from minorkey.data.readers.boxes.yolo import read_yolo, read_yolo_pose
from minorkey.data.readers.files import Files
from minorkey.data.readers.named import rows_by_key
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
from minorkey.data.readers.shapes.sources import SHAPE_FILES
from minorkey.errors import DataError
from minorkey.labels.space import distinct
from minorkey.system.reading import reading

SPLIT_FILES: Mapping[str, Callable[[bytes, str], SplitTable]] = {
    "coco": read_coco,
    "bdd100k": read_bdd100k,
    "cvat": read_cvat_boxes,
}
IMAGE_FILES: Mapping[str, Parse] = {
    "voc": read_voc,
    "yolo": read_yolo,
    "yolo_pose": read_yolo_pose,
    "kitti": read_kitti,
    "polygons": read_outlines,
    **{form: boxes_around(read) for form, read in SHAPE_FILES.items()},
}
FILES_LACK: Mapping[str, str] = {
    **dict.fromkeys(("yolo", "yolo_pose"), "counts as without objects"),
    **dict.fromkeys(SHAPE_FILES, "is left out"),
}
"""Ways of writing in which an image may lack a file, and what it is then."""


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
    if spec.boxes in SPLIT_FILES:
        return _of_split(files, spec, split, pattern, images)
    return _of_images(files, spec, split, pattern, images)


def classes_named(files: Files, spec: BoxSpec, split: str, place: str) -> tuple[str, ...]:
    """The classes of a data set as they are listed in `spec` or in the file of a split.

    What it ignores, or reads as `ignore` or as a crowd where not known, is not among them.

    Raises:
        DataError: that file is missing or broken.
    """
    names = list(spec.classes.values())
    if spec.boxes in SELF_NAMED:
        pattern = Pattern(spec.annotations, ANNOTATION_SUFFIXES, spec.known(split, place))
        names = _table(files, spec, split, pattern).names
    crowds = [name for those in spec.crowds.values() for name in those]
    return distinct(names, ["ignore", *spec.ignores, *spec.read_as.get("ignore", []), *crowds])


def _of_split(files: Files, spec: BoxSpec, split: str, pattern: Pattern, images: Found) -> tuple[OfSplit, Found]:
    table = _table(files, spec, split, pattern)
    file = table.file
    rows, notes = rows_by_key(
        table.images, {of for of, _ in images.values()}, file, table.splits, pattern.known["split"]
    )
    notes += table.notes
    if spec.drop_empty and table.empty:
        notes.append(f"{file}: {table.empty} boxes without area are left out")
    annotated = {key: (of, image) for key, (of, image) in images.items() if of in rows}
    names = table.names if spec.boxes in SELF_NAMED else spec.names
    return OfSplit(table, rows, names, notes), annotated


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
    # An image without objects has no file in YOLO, of other tools one is not labelled yet; where no image has one, they
    # lie elsewhere.
    if spec.boxes not in FILES_LACK or keys.isdisjoint(found):
        need_all(files, images, found, pattern, split)
    elif alone := keys - found.keys():
        notes.append(f"image {some(alone)} of split '{split}' has no file of boxes: it {FILES_LACK[spec.boxes]}")
    if spec.boxes in SHAPE_FILES:
        images = {key: (of, image) for key, (of, image) in images.items() if of in found}
    if spec.lists is None and (spare := found.keys() - keys - spec.skips.keys()):
        notes.append(f"boxes {some(spare)} of split '{split}' are left out: no image")
    addresses = {of: found[of] for of in sorted(keys & found.keys())}
    return OfImages(files, IMAGE_FILES[spec.boxes], addresses, spec.classes, spec.names, notes), images
