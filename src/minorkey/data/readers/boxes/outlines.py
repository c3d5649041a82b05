"""Boxes around polygons, as Cityscapes and IDD have them."""

from minorkey.data.polygons import read_instances
from minorkey.data.readers.boxes.objects import Annotation, Objects


def read_outlines(content: bytes, file: str, classes: dict[int, str], size: tuple[int, int]) -> Objects:
    """The objects in a file of polygons; a group is a crowd.

    Args:
        content: see `minorkey.data.polygons`.
        file: named in errors.
        classes: id -> name of the classes whose polygons are objects; others are what surrounds them.
        size: not needed.

    Raises:
        DataError: the file is broken.
    """
    instances, said = read_instances(content, set(classes.values()), file)
    found = (Annotation(thing.number, thing.name, thing.box, thing.group) for thing in instances)
    return Objects.of(file, "object", found, said)
