"""The scene that all exports show.

Each image is 6x4 (width x height): a car in columns 1 to 3 of rows 1 and 2, a road along row 3, nothing else.
"""

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 6, 4
LABELS = np.array([[0] * 6, [0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], [2] * 6], np.uint8)
"""0 background, 1 car, 2 road."""
BOXES = {"car": [1, 1, 4, 3], "road": [0, 3, 6, 4]}
COLOURS = {"background": (0, 0, 0), "car": (250, 50, 83), "road": (51, 221, 255)}
CAR, ROAD = [1, 1, 4, 1, 4, 3, 1, 3], [0, 3, 6, 3, 6, 4, 0, 4]


def photo(file: Path) -> None:
    """A photograph of its own for each name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, str(file)))
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(file)


def ids_png(file: Path, ids: np.ndarray, palette: list[int] | None = None) -> None:
    """A label image of ids, with a palette or in grey."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids.astype(np.uint8))
    if palette is not None:
        image = image.convert("P") if image.mode != "P" else image
        image = Image.fromarray(ids.astype(np.uint8), mode="L")
        image.putpalette(palette)
    image.save(file)


def painted_png(file: Path) -> None:
    """A label image in the colours of its classes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(list(COLOURS.values()), np.uint8)[LABELS]).save(file)


def text(file: Path, content: str, encoding: str = "utf-8") -> None:
    """A text file, with folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode(encoding))
