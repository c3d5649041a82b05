"""Boxes around the shapes that tools for labelling write: outlines, boxes and masks."""

from collections.abc import Iterable, Iterator

from minorkey.data.readers.boxes.objects import Annotation, Objects
from minorkey.data.readers.boxes.table import SplitTable
from minorkey.data.readers.shapes.cvat import read_cvat
from minorkey.data.readers.shapes.labelme import read_labelme
from minorkey.data.readers.shapes.shape import Shape, extent


def read_labelme_boxes(content: bytes, file: str, classes: dict[int, str], size: tuple[int, int]) -> Objects:
    """The boxes around the shapes in the file of an image; see `shapes.labelme`.

    Args:
        content: of the file.
        file: named in errors.
        classes: not needed; the file has the names.
        size: not needed.

    Raises:
        DataError: the JSON is broken, or a shape lacks a field.
    """
    shapes, said = read_labelme(content, file)
    return Objects.of(file, "shape", _around(shapes), said)


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
