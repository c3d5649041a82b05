"""Draw every corruption at one severity, for docs/corruptions.md.

    python scripts/draw_corruptions.py docs/corruptions.png [--severity 3] [--image FILE]

Without an image it is a scene of the built-in world: seed 1, index 3, `clear`, 448x224.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from minorkey.data.corruptions import CORRUPTIONS, Corruption
from minorkey.world import render

COLUMNS = 4


def draw(image: np.ndarray, severity: int) -> Figure:
    pictures = {"clean": image}
    pictures |= {f"{name}@{severity}": Corruption(name, severity).apply(image, "docs") for name in CORRUPTIONS}
    lines = -(-len(pictures) // COLUMNS)
    tile = 2.4
    figure = Figure(
        figsize=(COLUMNS * tile, lines * (tile * image.shape[0] / image.shape[1] + 0.25)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    for place, (name, picture) in enumerate(pictures.items(), start=1):
        axes = figure.add_subplot(lines, COLUMNS, place)
        axes.imshow(picture, interpolation="lanczos")
        axes.set_title(name, fontsize=8, pad=3)
        axes.axis("off")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="a picture of every corruption")
    parser.add_argument("file", type=Path)
    parser.add_argument("--severity", type=int, default=3)
    parser.add_argument("--image", type=Path)
    options = parser.parse_args()
    if options.image:
        image = np.asarray(Image.open(options.image).convert("RGB"))
    else:
        image = render(1, 3, "clear", size=(448, 224)).image
    draw(image, options.severity).savefig(options.file, dpi=80)


if __name__ == "__main__":
    main()
