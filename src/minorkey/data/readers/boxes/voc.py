"""Pascal VOC: an XML file for each image."""

from xml.etree import ElementTree

from minorkey.data.readers.boxes.objects import Annotation, Objects, number
from minorkey.errors import DataError


def read_voc(content: bytes, file: str, classes: dict[int, str], size: tuple[int, int]) -> Objects:
    """The objects in an annotation file; what is `difficult` counts as a crowd: neither right nor wrong.

    Pixels are counted from 1 and the last one belongs to the box, as the development kit has it.

    Args:
        content: XML with an `object` for each object, which has a `name`, a `bndbox` and perhaps `difficult`.
        file: named in errors.
        classes: not needed; the file has the names.
        size: not needed.

    Raises:
        DataError: the XML is broken, or an object lacks a field.
    """
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{file}: broken XML ({error}); replace or remove the file") from error
    return Objects.of(file, "object", (_object(node, i + 1, file) for i, node in enumerate(root.findall("object"))))


def _object(node: ElementTree.Element, place: int, file: str) -> Annotation:
    where = f"{file}: object {place}"
    box = node.find("bndbox")
    if box is None:
        raise DataError(f"{where} has no <bndbox>; mend or remove it")
    x0, y0, x1, y1 = (number(_text(box, field, where), field, where) for field in ("xmin", "ymin", "xmax", "ymax"))
    difficult = number(node.findtext("difficult") or "0", "difficult", where) != 0
    return Annotation(place, _text(node, "name", where), (x0 - 1, y0 - 1, x1, y1), difficult)


def _text(node: ElementTree.Element, field: str, where: str) -> str:
    text = (node.findtext(field) or "").strip()
    if not text:
        raise DataError(f"{where} has no <{field}>; mend or remove it")
    return text
