"""What all annotations of a COCO file refer to: its images and its categories, and the fields of an annotation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from minorkey.data.readers.values import side, whole, whole_json
from minorkey.errors import DataError

Id = int | str
Value = TypeVar("Value")

PARTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class CocoDocument:
    """A COCO file, its annotations as they are."""

    file: str  # as errors name it
    images: list[str]  # I file names
    sizes: list[tuple[int, int]]  # width and height; 0 where the file does not say
    names: Mapping[Id, str]  # id of a category -> its name
    annotations: list[Any]
    places: Mapping[Id, int]  # id of an image -> its place
    groups: frozenset[str]  # what other categories name as their supercategory

    @classmethod
    def of(cls, content: bytes, file: str) -> "CocoDocument":
        """Read a file.

        Raises:
            DataError: the JSON is broken, lacks a part, or an image or a category lacks a field or shares its id.
        """
        document = whole_json(content, file)
        if not isinstance(document, dict) or any(not isinstance(document.get(part), list) for part in PARTS):
            raise DataError(f"{file} is not of COCO's form; expected lists {', '.join(f'`{part}`' for part in PARTS)}")
        names = _by_id(document["categories"], "categories", lambda row: _text(row, "name", file), file)
        places = {own: place for place, own in enumerate(_by_id(document["images"], "images", lambda row: row, file))}
        images = [_text(row, "file_name", file) for row in document["images"]]
        sizes = [(_side(row, "width", file), _side(row, "height", file)) for row in document["images"]]
        groups = frozenset(
            group
            for row in document["categories"]
            if (group := str(row.get("supercategory", "")).strip()) != row["name"]
        )
        return cls(file, images, sizes, names, document["annotations"], places, groups)

    @property
    def classes(self) -> list[str]:
        """The names of its categories, each once, without groups of categories that no annotation is of, as Roboflow
        writes one with the name of the project."""
        ids = [row.get("category_id") for row in self.annotations if isinstance(row, dict)]
        found = {own if isinstance(own, str) else whole(own) for own in ids}
        used = {self.names.get(own) for own in found if own is not None}
        return [name for name in dict.fromkeys(self.names.values()) if name in used or name not in self.groups]

    def refers_to(self, row: Any, position: int) -> tuple[int, int, str]:
        """The place of the image of an annotation, how the file counts it, and the name of its category.

        Raises:
            DataError: it lacks a field, or refers to what is not there.
        """
        own = whole(row.get("id")) if isinstance(row, dict) else None
        numbered = position if own is None or abs(own) >= 1 << 63 else own
        where = f"{self.file}: annotation {numbered}"
        image, category = _id(row, "image_id", where), _id(row, "category_id", where)
        if image not in self.places:
            raise DataError(f"{where} is of image {image!r}, which is not among its `images`; mend or remove it")
        if category not in self.names:
            raise DataError(
                f"{where} has category {category!r}, which is not among its `categories`; mend or remove it"
            )
        return self.places[image], numbered, self.names[category]


def field_of(row: Any, name: str, where: str) -> Any:
    """A field of a row.

    Raises:
        DataError: there is none.
    """
    if not isinstance(row, dict) or name not in row:
        raise DataError(f"{where} has no '{name}': {str(row)[:60]}; mend or remove it")
    return row[name]


def _by_id(rows: list[Any], part: str, what: Callable[[Any], Value], file: str) -> dict[Id, Value]:
    """What is to be known of each row, by its id."""
    found: dict[Id, Value] = {}
    for row in rows:
        if (own := _id(row, "id", file)) in found:
            raise DataError(f"{file}: two of its `{part}` share an id, {own!r}; each needs its own")
        found[own] = what(row)
    return found


def _text(row: Any, name: str, where: str) -> str:
    value = field_of(row, name, where)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {name} is {value!r}, expected text; mend or remove it")
    return value.strip()


def _id(row: Any, name: str, where: str) -> Id:
    """A number, which may be written as 1.0, or text; `"1"` is not 1, for a file may have both."""
    value = field_of(row, name, where)
    found = value if isinstance(value, str) else whole(value)
    if found is None:
        raise DataError(f"{where}: {name} is {value!r}, expected a whole number or text; mend or remove it")
    return found


def _side(row: dict[str, Any], name: str, file: str) -> int:
    """A side of an image in pixels, 0 where it is not said."""
    return side(row.get(name), name, f"{file}: image {row['id']!r}")
