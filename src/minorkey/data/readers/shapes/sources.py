"""Where the shapes of an image come from: the file of its split, or its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from minorkey.data.raw_cache import file_stamp
from minorkey.data.readers.files import Files
from minorkey.data.readers.named import rows_by_key
from minorkey.data.readers.pairing import Found, NoSplit, find_beside, find_one, hint, some
from minorkey.data.readers.pattern import Pattern
from minorkey.data.readers.shapes.coco import read_coco_shapes
from minorkey.data.readers.shapes.cvat import read_cvat
from minorkey.data.readers.shapes.labelme import read_labelme
from minorkey.data.readers.shapes.shape import Shape
from minorkey.data.readers.shapes.supervisely import read_supervisely
from minorkey.data.readers.shapes.table import ShapeTable
from minorkey.data.readers.shapes.yolo import read_yolo_shapes
from minorkey.errors import DataError
from minorkey.system.reading import reading

SPLIT_FILES: Mapping[str, Callable[[bytes, str], ShapeTable]] = {"coco": read_coco_shapes, "cvat": read_cvat}

KEPT = 8
_TABLES: dict[tuple[str, str | None], ShapeTable] = {}
"""What files of splits hold, by how they are written and what changes as they do: the last `KEPT` of this process."""

Sized = tuple[list[Shape], tuple[int, int]]
"""Shapes, and the (width, height) of the image that they were drawn on; 0 where it is not said."""

SHAPE_FILES: Mapping[str, Callable[[bytes, str], Sized]] = {"labelme": read_labelme, "supervisely": read_supervisely}
"""Files of single images that say their classes and sizes themselves."""


@dataclass(frozen=True)
class OfTable:
    """Shapes in the file of a split."""

    table: ShapeTable
    rows: Mapping[str, int]  # key of an image -> its place in the table
    notes: list[str]

    def shapes(self, key: str, size: tuple[int, int]) -> Sized:
        """The shapes of the image with this key, which has this width and height.

        Raises:
            DataError: one is broken.
        """
        said = self.table.sizes[self.rows[key]]
        with reading(f"{self.table.file}: {self.table.images[self.rows[key]]}", "mend or replace the file"):
            return self.table.shapes(self.rows[key], said if all(said) else size), said


@dataclass(frozen=True)
class OfFiles:
    """Shapes in files of their images."""

    files: Files
    encoding: str
    addresses: Mapping[str, str]  # key of an image -> address of its file; none: nothing is drawn on it
    classes: dict[int, str]  # by the numbers of YOLO
    notes: list[str]

    def shapes(self, key: str, size: tuple[int, int]) -> Sized:
        """The shapes of the image with this key, which has this width and height.

        Raises:
            DataError: the file is broken.
        """
        if (address := self.addresses.get(key)) is None:
            return [], (0, 0)
        content, where = self.files.read(address), self.files.where(address)
        with reading(where, "mend or replace the file"):
            if (read := SHAPE_FILES.get(self.encoding)) is not None:
                return read(content, where)
            return read_yolo_shapes(content, where, self.classes, size), (0, 0)


def split_table(files: Files, encoding: str, address: str) -> ShapeTable:
    """What a file of a split holds; it is read once as long as it does not change.

    Raises:
        DataError: it cannot be read.
    """
    stamp = file_stamp(files.root / address)
    if (encoding, stamp) not in _TABLES:
        where = files.where(address)
        with reading(where, "mend or replace the file"):
            table = SPLIT_FILES[encoding](files.read(address), where)
        if stamp is None:  # of an archive
            return table
        while len(_TABLES) >= KEPT:
            _TABLES.pop(next(iter(_TABLES)))
        _TABLES[encoding, stamp] = table
    return _TABLES[encoding, stamp]


def open_shapes(
    files: Files, encoding: str, pattern: Pattern, split: str, images: Found, classes: dict[int, str]
) -> tuple[OfTable | OfFiles, Found]:
    """Find the shapes of the images of a split.

    Args:
        files: what lies below the root of the data set.
        encoding: how they are written, of `spec.DRAWN`.
        pattern: of the file of the split, or of the files of its images.
        split: as files and folders call it; "all" takes all that a file tells of.
        images: of the split.
        classes: the names that YOLO's ids stand for.

    Returns:
        where shapes come from, and the images that are annotated.

    Raises:
        DataError: a file is missing or broken, or names none of the images.
    """
    if encoding in SPLIT_FILES:
        return _of_table(files, encoding, pattern, split, images)
    return _of_files(files, encoding, pattern, split, images, classes)


def _of_table(files: Files, encoding: str, pattern: Pattern, split: str, images: Found) -> tuple[OfTable, Found]:
    address = find_one(files, pattern)
    if address is None:
        raise NoSplit(f"{files.root}: no annotations of split '{split}'; expected {pattern.example('*')}{hint(files)}")
    table = split_table(files, encoding, address)
    rows, notes = rows_by_key(table.images, {of for of, _ in images.values()}, table.file, table.splits, split)
    annotated = {key: (of, image) for key, (of, image) in images.items() if of in rows}
    return OfTable(table, rows, [*notes, *table.notes]), annotated


def _of_files(
    files: Files, encoding: str, pattern: Pattern, split: str, images: Found, classes: dict[int, str]
) -> tuple[OfFiles, Found]:
    found, keys = find_beside(files, pattern), {of for of, _ in images.values()}
    if keys.isdisjoint(found):
        expected = pattern.example(min(keys))
        raise DataError(
            f"{files.root}: no image of split '{split}' has a file of shapes; expected {expected}{hint(files)}"
        )
    notes = []
    if alone := keys - found.keys():
        # Who labels in YOLO's form writes no file for an image without objects; in others, one is not labelled yet.
        counts = "counts as background" if encoding == "yolo" else "is left out"
        notes.append(f"image {some(alone)} of split '{split}' has no file of shapes: it {counts}")
    if encoding != "yolo":
        images = {key: (of, image) for key, (of, image) in images.items() if of in found}
    addresses = {of: found[of] for of in sorted(keys & found.keys())}
    return OfFiles(files, encoding, addresses, classes, notes), images
