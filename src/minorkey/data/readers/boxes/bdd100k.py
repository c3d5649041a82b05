"""BDD100K: a JSON file for a split, a list of frames with the labels in each."""

from collections.abc import Iterator
from typing import Any

from minorkey.data.readers.boxes.objects import Annotation
from minorkey.data.readers.boxes.table import SplitTable
from minorkey.data.readers.values import flag, number, whole_json
from minorkey.errors import DataError
from minorkey.system.reading import reading, shown

CORNERS = ("x1", "y1", "x2", "y2")


def read_bdd100k(content: bytes, file: str) -> SplitTable:
    """The boxes of a split. Labels without `box2d` (lanes, drivable area) are no objects; crowds are kept as such.

    The last pixel belongs to the box, as in the tools of the data set (`box2d_to_bbox` of scalabel).

    Args:
        content: of the file.
        file: named in errors.

    Raises:
        DataError: the JSON is broken, or a label lacks a field.
    """
    whole = whole_json(content, file)
    frames = whole.get("frames") if isinstance(whole, dict) else whole
    if not isinstance(frames, list) or not all(isinstance(frame, dict) and "name" in frame for frame in frames):
        raise DataError(f"{file} is not of BDD100K's form; expected a list of frames, each with a `name`")
    found: list[list[Annotation]] = []
    for frame in frames:
        found.append(list(_objects(frame, f"{file}: {frame['name']}")))
    names = list(dict.fromkeys(one.name for those in found for one in those))
    return SplitTable.of(file, [str(frame["name"]) for frame in frames], [(0, 0)] * len(frames), names, found)


def _objects(frame: dict[str, Any], file: str) -> Iterator[Annotation]:
    labels = frame.get("labels") or []
    if not isinstance(labels, list):
        raise DataError(f"{file}: labels are {shown(labels)}, expected a list; mend or remove them")
    for place, label in enumerate(labels):
        with reading(where := f"{file}: label {place}", "mend or remove it"):
            found = _object(label, place, where)
        if found is not None:
            yield found


def _object(label: dict[str, Any], place: int, where: str) -> Annotation | None:
    """An object; None: the label is of something else."""
    box = label.get("box2d")
    if box is None:
        return None
    if "category" not in label or not all(corner in box for corner in CORNERS):
        raise DataError(f"{where} has no 'category', or its box2d no {', '.join(CORNERS)}; mend or remove it")
    x0, y0, x1, y1 = (number(box[corner], corner, where) for corner in CORNERS)
    crowd = flag((label.get("attributes") or {}).get("crowd"), "crowd", where)
    return Annotation(place, str(label["category"]), (x0, y0, x1 + 1, y1 + 1), crowd)
