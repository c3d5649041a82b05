"""Label images from polygons, as Cityscapes and IDD publish them (`*_polygons.json`)."""

import json
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from minorkey.errors import DataError

BACKGROUND = "unlabeled"


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
    try:
        scene = json.loads(content)
        image = Image.new("L", (scene["imgWidth"], scene["imgHeight"]), ids[BACKGROUND])
        draw = ImageDraw.Draw(image)
        for thing in scene["objects"]:
            name = thing["label"]
            number = ids.get(name, ids.get(name.removesuffix("group")))
            if number is None:
                raise DataError(f"{file}: no map names class '{name}'; add it to the `ids` of the data set")
            if not thing.get("deleted"):
                draw.polygon([(x, y) for x, y in thing["polygon"]], fill=number)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: broken polygons ({error}); replace or remove the file") from error
    return np.array(image)
