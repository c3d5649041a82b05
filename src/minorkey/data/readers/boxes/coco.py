"""COCO: a JSON file for a split, with its images, its categories by name, and its annotations."""

from collections.abc import Mapping
from typing import Any

from minorkey.data.readers.boxes.objects import Annotation, number, whole_json
from minorkey.data.readers.boxes.table import SplitTable
from minorkey.errors import DataError

PARTS = ("images", "annotations", "categories")


def read_coco(content: bytes, file: str) -> SplitTable:
    """The boxes of a split, whose `bbox` is x y width height in pixels from 0; `iscrowd` is kept.

    Args:
        content: of the file.
        file: named in errors.

    Raises:
        DataError: the JSON is broken, lacks a part, or an annotation lacks a field or refers to what is not there.
    """
    whole = whole_json(content, file)
    if not isinstance(whole, dict) or any(not isinstance(whole.get(part), list) for part in PARTS):
        raise DataError(f"{file} is not of COCO's form; expected lists {', '.join(f'`{part}`' for part in PARTS)}")
    names = {_id(row, "id", file): str(_field(row, "name", file)) for row in whole["categories"]}
    places = {_id(row, "id", file): place for place, row in enumerate(whole["images"])}
    if len(places) < len(whole["images"]):
        raise DataError(f"{file}: two of its `images` share an id; each needs its own")
    found: list[list[Annotation]] = [[] for _ in places]
    for position, row in enumerate(whole["annotations"]):
        place, one = _annotation(row, position, places, names, file)
        found[place].append(one)
    images = [str(_field(row, "file_name", file)) for row in whole["images"]]
    sizes = [(_side(row, "width", file), _side(row, "height", file)) for row in whole["images"]]
    return SplitTable.of(file, images, sizes, list(dict.fromkeys(names.values())), found)


def _annotation(
    row: Any, position: int, places: Mapping[int | str, int], names: Mapping[int | str, str], file: str
) -> tuple[int, Annotation]:
    """The place of its image, and the object."""
    own = row.get("id") if isinstance(row, dict) else None
    count = own if isinstance(own, int) else position
    where = f"{file}: annotation {count}"
    image, category, bbox = _id(row, "image_id", where), _id(row, "category_id", where), _field(row, "bbox", where)
    if image not in places:
        raise DataError(f"{where} is of image {image!r}, which is not among its `images`; mend or remove it")
    if category not in names:
        raise DataError(f"{where} has category {category!r}, which is not among its `categories`; mend or remove it")
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise DataError(f"{where}: bbox is {bbox!r}, expected [x, y, width, height]; mend or remove it")
    x, y, width, height = (number(value, "bbox", where) for value in bbox)
    return places[image], Annotation(count, names[category], (x, y, x + width, y + height), bool(row.get("iscrowd")))


def _field(row: Any, name: str, where: str) -> Any:
    if not isinstance(row, dict) or name not in row:
        raise DataError(f"{where} has no '{name}': {str(row)[:60]}; mend or remove it")
    return row[name]


def _id(row: Any, name: str, where: str) -> int | str:
    value = _field(row, name, where)
    if not isinstance(value, int | str):
        raise DataError(f"{where}: {name} is {value!r}, expected a number; mend or remove it")
    return value


def _side(row: dict[str, Any], name: str, where: str) -> int:
    """A side of an image in pixels, 0 where it is not said."""
    return int(number(row.get(name) or 0, name, f"{where}: image {row['id']!r}"))
