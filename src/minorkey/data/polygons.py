"""Labels and boxes from polygons, as Cityscapes and IDD publish them (`*_polygons.json`)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from minorkey.errors import DataError, MinorkeyError
from minorkey.system.reading import FAULTS, json_of

BACKGROUND = "unlabeled"
GROUP = "group"
"""Ends the label of a polygon around several objects, as in `cargroup`."""


class Instance(NamedTuple):
    """What is visible of an object."""

    number: int  # of its polygon in the file, from 0
    name: str  # its class
    box: tuple[int, int, int, int]  # x0 y0 x1 y1 in pixels, x1 and y1 exclusive
    group: bool  # several objects that were not told apart


def read_polygons(content: bytes, ids: Mapping[str, int], file: str) -> np.ndarray:
    """Draw the polygons of a scene, later ones over earlier ones.

    Args:
        content: JSON with `imgWidth`, `imgHeight` and `objects`, each a `label` and a `polygon` [[x, y], ...].
        ids: class name -> id; `unlabeled` fills what no polygon covers. A group, as in `cargroup`, is its class.
        file: named in the error.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: the JSON is broken or names a class without an id.
    """

    def number(thing: dict[str, Any]) -> int:
        name = thing["label"]
        found = ids.get(name, ids.get(name.removesuffix(GROUP)))
        if found is None:
            raise DataError(f"{file}: no map names class '{name}'; add it to the `ids` of the data set")
        return found

    with _readable(file):
        scene = json_of(content)
        fills = [number(thing) for thing in scene["objects"]]
        return _drawn(scene, fills, ids[BACKGROUND]).astype(np.uint8)


def read_instances(content: bytes, classes: Collection[str], file: str) -> tuple[list[Instance], tuple[int, int]]:
    """The boxes around what is visible of the objects of a scene: of what later polygons do not cover.

    These are the extents of the objects in the `instanceIds` images, which are drawn from the same polygons.

    Args:
        content: as in `read_polygons`.
        classes: those whose polygons are objects; polygons of others only cover.
        file: named in the error.

    Returns:
        the objects of which a pixel is visible, and the size (width, height) of the scene.

    Raises:
        DataError: the JSON is broken.
    """
    with _readable(file):
        scene = json_of(content)
        names = [str(thing["label"]) for thing in scene["objects"]]
        single = [name if name in classes else name.removesuffix(GROUP) for name in names]
        fills = [place + 1 if name in classes else 0 for place, name in enumerate(single)]
        extents = ndimage.find_objects(_drawn(scene, fills, 0))
        instances = [
            Instance(place, single[place], (across.start, down.start, across.stop, down.stop), name != single[place])
            for place, (name, extent) in enumerate(zip(names, extents, strict=False))
            if extent is not None
            for down, across in [extent]
        ]
        return instances, (int(scene["imgWidth"]), int(scene["imgHeight"]))


def _drawn(scene: dict[str, Any], fills: Sequence[int], background: int) -> np.ndarray:
    """(H, W) int32 of the fills of the polygons, later ones over earlier ones; deleted ones are not drawn."""
    image = Image.new("I", (scene["imgWidth"], scene["imgHeight"]), background)
    draw = ImageDraw.Draw(image)
    for thing, fill in zip(scene["objects"], fills, strict=True):
        if not thing.get("deleted"):
            draw.polygon([(x, y) for x, y in thing["polygon"]], fill=fill)
    return np.array(image)


@contextmanager
def _readable(file: str) -> Iterator[None]:
    """Whatever reading a broken scene raises becomes a `DataError`."""
    try:
        yield
    except MinorkeyError:
        raise
    except FAULTS as error:
        raise DataError(f"{file}: broken polygons ({error}); replace or remove the file") from error
