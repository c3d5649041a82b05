"""CVAT for images 1.1: an XML file for a task or a project, with its labels and, image by image, its shapes."""

from collections.abc import Callable
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from minorkey.data.readers.shapes.rle import filled
from minorkey.data.readers.shapes.shape import Mask, Shape, ellipse, outline_of, rectangle, turned
from minorkey.data.readers.shapes.table import ShapeTable
from minorkey.data.readers.values import number, side, whole
from minorkey.errors import DataError
from minorkey.system.reading import words, xml_of


def read_cvat(content: bytes, file: str) -> ShapeTable:
    """The shapes of all images: those of a higher `z_order` over lower ones, then later ones over earlier ones.

    Args:
        content: XML whose `meta` names the labels, and which has an `image` for each image, with its `name`, `width`,
            `height` and perhaps `subset`; polygons, boxes, ellipses and masks. Points and polylines cover nothing.
        file: named in errors.

    Raises:
        DataError: the XML is broken, or is of something else.
    """
    try:
        root = xml_of(content)
    except (ValueError, MemoryError) as error:
        raise DataError(f"{file}: broken XML ({words(error)}); replace the file") from error
    nodes = root.findall("image")
    if root.tag != "annotations" or not nodes:
        raise DataError(f"{file} is not of the form 'CVAT for images 1.1'; export the task in that form")
    labels = [(label.findtext("name") or "").strip() for label in root.iterfind("meta//label")]
    used = [shape.get("label", "").strip() for node in nodes for shape in node if _covers(shape)]
    names = list(dict.fromkeys(name for name in [*labels, *used] if name))
    return ShapeTable(
        file,
        [node.get("name", "") for node in nodes],
        [(_side(node, "width", file), _side(node, "height", file)) for node in nodes],
        [ElementTree.tostring(node) for node in nodes],
        _shapes,
        names,
        splits=[node.get("subset", "") for node in nodes],
    )


def _shapes(text: bytes, image: str, size: tuple[int, int]) -> list[Shape]:
    nodes = (node for node in xml_of(text) if _covers(node))
    return [_shape(node, place, f"{image}: shape {place}", size) for place, node in enumerate(nodes, 1)]


def _shape(node: Element, place: int, where: str, size: tuple[int, int]) -> Shape:
    name, level = node.get("label", "").strip(), whole(node.get("z_order") or 0)
    if not name or level is None:
        raise DataError(f"{where}: a <{node.tag}> needs a `label` and a whole `z_order`; mend or remove it")
    shape = Shape(place, name, level=level)
    if node.tag == "mask":
        return shape._replace(mask=_mask(node, where, size))
    return shape._replace(outlines=[turned(SHAPES[node.tag](node, where), _number(node, "rotation", where, "0"))])


def _covers(node: Element) -> bool:
    return node.tag in SHAPES or node.tag == "mask"


def _polygon(node: Element, where: str) -> np.ndarray:
    corners = [text.split(",") for text in node.get("points", "").split(";") if text.strip()]
    return outline_of([number(value, "points", where) for corner in corners for value in corner], where)


def _box(node: Element, where: str) -> np.ndarray:
    return rectangle(*(_number(node, side, where) for side in ("xtl", "ytl", "xbr", "ybr")))


def _ellipse(node: Element, where: str) -> np.ndarray:
    return ellipse(*(_number(node, side, where) for side in ("cx", "cy", "rx", "ry")))


SHAPES: dict[str, Callable[[Element, str], np.ndarray]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
}
"""Those of an outline, beside the mask; what else there is covers nothing."""


def _mask(node: Element, where: str, size: tuple[int, int]) -> Mask:
    """Runs along the rows of a box: `rle` of `width` x `height` at `left`, `top`."""
    left, top, width, height = (whole(node.get(name)) for name in ("left", "top", "width", "height"))
    if left is None or top is None or not (width and height and 0 < width <= size[0] and 0 < height <= size[1]):
        raise DataError(
            f"{where}: a mask needs `left`, `top`, `width` and `height` within its image; mend or remove it"
        )
    runs = [whole(text.strip()) for text in node.get("rle", "").split(",")]
    return Mask(
        filled([-1 if run is None else run for run in runs], width * height, where).reshape(height, width), left, top
    )


def _number(node: Element, name: str, where: str, missing: str | None = None) -> float:
    found = number(node.get(name, missing), name, where)
    if not np.isfinite(found):
        raise DataError(f"{where}: {name} is {found}; mend or remove it")
    return found


def _side(node: Element, name: str, file: str) -> int:
    return side(node.get(name), name, f"{file}: image '{node.get('name', '')}'")
