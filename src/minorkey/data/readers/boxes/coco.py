"""COCO: a JSON file for a split, with its images, its categories by name, and its annotations."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from minorkey.data.readers.boxes.objects import Annotation, flag, number, side, whole, whole_json
from minorkey.data.readers.boxes.table import SplitTable
from minorkey.errors import DataError

Id = int | str
Value = TypeVar("Value")

PARTS = ("images", "annotations", "categories")


def read_coco(content: bytes, file: str) -> SplitTable:
    """The boxes of a split, whose `bbox` is x y width height in pixels from 0; `iscrowd` is kept.

    Args:
        content: of the file.
        file: named in errors.

    Raises:
        DataError: the JSON is broken, lacks a part, or an annotation lacks a field or refers to what is not there.
    """
    document = whole_json(content, file)
    if not isinstance(document, dict) or any(not isinstance(document.get(part), list) for part in PARTS):
        raise DataError(f"{file} is not of COCO's form; expected lists {', '.join(f'`{part}`' for part in PARTS)}")
    names = _by_id(document["categories"], "categories", lambda row: _text(row, "name", file), file)
    places = {own: place for place, own in enumerate(_by_id(document["images"], "images", lambda row: row, file))}
    found: list[list[Annotation]] = [[] for _ in places]
    for position, row in enumerate(document["annotations"]):
        place, one = _annotation(row, position, places, names, file)
        found[place].append(one)
    images = [_text(row, "file_name", file) for row in document["images"]]
    sizes = [(_side(row, "width", file), _side(row, "height", file)) for row in document["images"]]
    notes = _repeated(found, document["annotations"], file)
    return SplitTable.of(file, images, sizes, list(dict.fromkeys(names.values())), found, notes)


def _by_id(rows: list[Any], part: str, what: Callable[[Any], Value], file: str) -> dict[Id, Value]:
    """What is to be known of each row, by its id."""
    found: dict[Id, Value] = {}
    for row in rows:
        if (own := _id(row, "id", file)) in found:
            raise DataError(f"{file}: two of its `{part}` share an id, {own!r}; each needs its own")
        found[own] = what(row)
    return found


def _repeated(found: list[list[Annotation]], rows: list[Any], file: str) -> list[str]:
    """A line where annotations share an id; the same one twice is an error."""
    numbers = [one.number for those in found for one in those]
    if len(set(numbers)) == len(numbers):
        return []
    for those in found:
        if twice := [one for one, count in Counter(those).items() if count > 1]:
            raise DataError(f"{file}: annotation {twice[0].number} is listed twice; remove one")
    ids = [row["id"] for row in rows if row.get("id") is not None]
    shared = len(ids) - len(set(map(str, ids)))
    return [f"{file}: {shared} of {len(ids)} annotations have the id of another"] if shared else []


def _annotation(
    row: Any, position: int, places: Mapping[Id, int], names: Mapping[Id, str], file: str
) -> tuple[int, Annotation]:
    """The place of its image, and the object."""
    own = whole(row.get("id")) if isinstance(row, dict) else None
    numbered = position if own is None or abs(own) >= 1 << 63 else own
    where = f"{file}: annotation {numbered}"
    image, category, bbox = _id(row, "image_id", where), _id(row, "category_id", where), _field(row, "bbox", where)
    if image not in places:
        raise DataError(f"{where} is of image {image!r}, which is not among its `images`; mend or remove it")
    if category not in names:
        raise DataError(f"{where} has category {category!r}, which is not among its `categories`; mend or remove it")
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise DataError(f"{where}: bbox is {bbox!r}, expected [x, y, width, height]; mend or remove it")
    x, y, width, height = (number(value, "bbox", where) for value in bbox)
    crowd = flag(row.get("iscrowd"), "iscrowd", where)
    return places[image], Annotation(numbered, names[category], (x, y, x + width, y + height), crowd)


def _field(row: Any, name: str, where: str) -> Any:
    if not isinstance(row, dict) or name not in row:
        raise DataError(f"{where} has no '{name}': {str(row)[:60]}; mend or remove it")
    return row[name]


def _text(row: Any, name: str, where: str) -> str:
    value = _field(row, name, where)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {name} is {value!r}, expected text; mend or remove it")
    return value.strip()


def _id(row: Any, name: str, where: str) -> Id:
    """A number, which may be written as 1.0, or text; `"1"` is not 1, for a file may have both."""
    value = _field(row, name, where)
    found = value if isinstance(value, str) else whole(value)
    if found is None:
        raise DataError(f"{where}: {name} is {value!r}, expected a whole number or text; mend or remove it")
    return found


def _side(row: dict[str, Any], name: str, file: str) -> int:
    """A side of an image in pixels, 0 where it is not said."""
    return side(row.get(name), name, f"{file}: image {row['id']!r}")
