"""The object benchmark of KITTI: a text file for each image."""

from minorkey.data.readers.boxes.objects import Annotation, Objects
from minorkey.data.readers.text import text_lines
from minorkey.data.readers.values import number
from minorkey.errors import DataError

FIELDS = (15, 16)
"""In a line: class, truncation, occlusion, angle, box, size and place in space, angle; the score of a result."""
BOX = slice(4, 8)


def read_kitti(content: bytes, file: str, classes: dict[int, str], size: tuple[int, int]) -> Objects:
    """The objects in an annotation file.

    Args:
        content: lines of a class name and 14 numbers, the 4th to 7th of which are x0 y0 x1 y1 in pixels from 0.
        file: named in errors.
        classes: not needed; the file has the names.
        size: not needed.

    Raises:
        DataError: a line has other fields.
    """
    lines = text_lines(content, file)
    return Objects.of(file, "line", (_object(line.split(), i + 1, file) for i, line in enumerate(lines) if line))


def _object(fields: list[str], place: int, file: str) -> Annotation:
    where = f"{file}: line {place}"
    if len(fields) not in FIELDS:
        raise DataError(f"{where} has {len(fields)} fields, expected {FIELDS[0]} as in KITTI; mend or remove it")
    box = [number(text, what, where) for text, what in zip(fields[BOX], ("x0", "y0", "x1", "y1"), strict=True)]
    return Annotation(place, fields[0], box)
