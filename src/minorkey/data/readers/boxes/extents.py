"""Boxes around the shapes that tools for labelling write: outlines, boxes and masks."""

from collections.abc import Callable, Iterable, Iterator

from minorkey.data.readers.boxes.objects import Annotation, Objects, Parse
from minorkey.data.readers.boxes.table import SplitTable
from minorkey.data.readers.shapes.cvat import read_cvat
from minorkey.data.readers.shapes.shape import Shape, extent
from minorkey.data.readers.shapes.sources import Sized


def boxes_around(read: Callable[[bytes, str], Sized]) -> Parse:
    """The reader of the boxes around the shapes that another reads from the file of an image."""

    def parse(content: bytes, file: str, classes: dict[int, str], size: tuple[int, int]) -> Objects:
        shapes, said = read(content, file)  # the file has the names and the size
        return Objects.of(file, "shape", _around(shapes), said)

    return parse


def read_cvat_boxes(content: bytes, file: str) -> SplitTable:
    """The boxes around the shapes of all images; see `shapes.cvat`.

    Args:
        content: of the file.
        file: named in errors.

    Raises:
        DataError: the XML is broken or of something else, or a shape lacks a field.
    """
    table = read_cvat(content, file)
    found = [list(_around(table.shapes(image, size))) for image, size in enumerate(table.sizes)]
    return SplitTable.of(file, table.images, table.sizes, list(table.names), found, table.notes, table.splits)


def _around(shapes: Iterable[Shape]) -> Iterator[Annotation]:
    return (Annotation(shape.number, shape.name, extent(shape), shape.crowd) for shape in shapes)
