"""YOLO: a text file for each image, `class x y width height` in a line, as parts of the image."""

from minorkey.data.readers.boxes.objects import Annotation, Objects, number, whole
from minorkey.data.readers.text import text_lines
from minorkey.errors import DataError, unknown


def read_yolo(content: bytes, file: str, classes: dict[int, str], size: tuple[int, int]) -> Objects:
    """The objects in an annotation file.

    Args:
        content: lines of a class id, the middle of the box, its width and its height, from 0 to 1.
        file: named in errors.
        classes: id -> name.
        size: (width, height) of the image in pixels.

    Raises:
        DataError: a line has other fields, or an id has no name.
    """
    lines = text_lines(content, file)
    found = (_object(line.split(), i + 1, file, classes, size) for i, line in enumerate(lines) if line)
    return Objects.of(file, "line", found)


def _object(fields: list[str], place: int, file: str, classes: dict[int, str], size: tuple[int, int]) -> Annotation:
    where = f"{file}: line {place}"
    if len(fields) != 5:
        raise DataError(f"{where} has {len(fields)} fields, expected 5: class x y width height; mend or remove it")
    name = None if (own := whole(fields[0])) is None else classes.get(own)
    if name is None:
        raise DataError(f"{where}: {unknown('class id', fields[0], map(str, classes))}; see `classes` in dataset.yaml")
    x, y, width, height = (
        number(text, what, where) * scale
        for text, what, scale in zip(fields[1:], ("x", "y", "width", "height"), (*size, *size), strict=True)
    )
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Annotation(place, name, box)
