"""Pascal VOC: an XML file for each image."""

from xml.etree.ElementTree import Element

from minorkey.data.readers.boxes.objects import Annotation, Objects
from minorkey.data.readers.values import flag, number, side
from minorkey.errors import DataError
from minorkey.system.reading import words, xml_of


def read_voc(content: bytes, file: str, classes: dict[int, str], size: tuple[int, int]) -> Objects:
    """The objects in an annotation file; what is `difficult` counts as a crowd: neither right nor wrong.

    Pixels are counted from 1 and the last one belongs to the box, as the development kit has it.

    Args:
        content: XML with an `object` for each object, which has a `name`, a `bndbox` and perhaps `difficult`; and
            perhaps the `size` of the image.
        file: named in errors.
        classes: not needed; the file has the names.
        size: not needed.

    Raises:
        DataError: the XML is broken, or an object lacks a field or says one twice.
    """
    try:
        root = xml_of(content)
    except (ValueError, MemoryError) as error:
        raise DataError(f"{file}: broken XML ({words(error)}); replace or remove the file") from error
    found = (_object(node, i + 1, file) for i, node in enumerate(root.findall("object")))
    return Objects.of(file, "object", found, _size(root, file))


def _size(root: Element, file: str) -> tuple[int, int]:
    """Width and height of the image as the file says them, 0 where it does not."""
    node = _only(root, "size", file)
    if node is None:
        return 0, 0
    width, height = (side((node.findtext(field) or "").strip(), field, file) for field in ("width", "height"))
    return width, height


def _object(node: Element, place: int, file: str) -> Annotation:
    where = f"{file}: object {place}"
    box = _only(node, "bndbox", where)
    if box is None:
        raise DataError(f"{where} has no <bndbox>; mend or remove it")
    x0, y0, x1, y1 = (number(_text(box, field, where), field, where) for field in ("xmin", "ymin", "xmax", "ymax"))
    difficult = flag(node.findtext("difficult"), "difficult", where)
    return Annotation(place, _text(node, "name", where), (x0 - 1, y0 - 1, x1, y1), difficult)


def _text(node: Element, field: str, where: str) -> str:
    found = _only(node, field, where)
    text = "" if found is None else (found.text or "").strip()
    if not text:
        raise DataError(f"{where} has no <{field}>; mend or remove it")
    return text


def _only(node: Element, field: str, where: str) -> Element | None:
    """The child of a name; None if there is none."""
    found = node.findall(field)
    if len(found) > 1:
        raise DataError(f"{where} has {len(found)} <{field}>, expected one; mend or remove it")
    return found[0] if found else None
