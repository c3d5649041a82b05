"""YOLO: a text file for each image, `class x y width height` in a line, or an outline, as parts of the image."""

from minorkey.data.readers.boxes.objects import Annotation, Objects
from minorkey.data.readers.shapes.yolo import BOX, YoloLine, yolo_lines


def read_yolo(content: bytes, file: str, classes: dict[int, str], size: tuple[int, int]) -> Objects:
    """The objects in an annotation file.

    Args:
        content: lines of a class id, the middle of the box, its width and its height, from 0 to 1; or of a class id and
            the corners of an outline, whose extent is the box.
        file: named in errors.
        classes: id -> name.
        size: (width, height) of the image in pixels.

    Raises:
        DataError: a line has other fields, or an id has no name.
    """
    return Objects.of(file, "line", map(_object, yolo_lines(content, file, classes, size)))


def read_yolo_pose(content: bytes, file: str, classes: dict[int, str], size: tuple[int, int]) -> Objects:
    """The objects in an annotation file whose lines have keypoints behind the box, which are left out.

    Args:
        content: lines of a class id, the middle of the box, its width and its height, from 0 to 1, and more.
        file: as of `read_yolo`.
        classes: as of `read_yolo`.
        size: as of `read_yolo`.

    Raises:
        DataError: as `read_yolo`.
    """
    return Objects.of(file, "line", map(_object, yolo_lines(content, file, classes, size, fields=BOX)))


def _object(line: YoloLine) -> Annotation:
    if line.box is not None:
        return Annotation(line.place, line.name, line.box)
    (x0, y0), (x1, y1) = line.points.min(0).tolist(), line.points.max(0).tolist()
    return Annotation(line.place, line.name, (x0, y0, x1, y1))
