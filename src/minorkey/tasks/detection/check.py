"""Boxes in the data check."""

import numpy as np

from minorkey.data.records import TINY_SIDE
from minorkey.data.sample import Sample
from minorkey.labels import LabelSpace
from minorkey.tasks.counted import Counted
from minorkey.tasks.detection.drawing import Colour, draw_boxes

GREY: Colour = (150, 150, 150)
"""Of crowd boxes."""

COUNTED = Counted(
    things="boxes",
    by_share=False,
    title="Boxes",
    empty="have no boxes",
    lead=f"Tiny boxes have a side below {TINY_SIDE:g} pixels. Clipped boxes reach over the edge of their image. Crowd "
    "boxes are counted apart: regions that are not told apart or too hard, neither trained nor judged on. Images "
    "without boxes are trained and judged on.",
    pictures="boxes. Crowds are grey.",
    framed=True,
    width=560,  # boxes have names on them, which are to be read
)


def draw_labels(sample: Sample, image: np.ndarray, space: LabelSpace) -> np.ndarray | None:
    """The smaller image of a sample with its boxes; None without any annotation."""
    if sample.boxes is None or sample.box_classes is None or sample.crowd is None:
        return None
    marked = list(zip(sample.box_classes.tolist(), sample.crowd.tolist(), strict=True))
    colours = [GREY if crowd else _rgb(space.colours[train_id]) for train_id, crowd in marked]
    names = [space.classes[train_id] + (" (crowd)" if crowd else "") for train_id, crowd in marked]
    boxes = sample.boxes * (image.shape[1] / sample.image.shape[1])
    return np.asarray(draw_boxes(image, boxes, colours, names))


def _rgb(colour: np.ndarray) -> Colour:
    red, green, blue = colour.tolist()
    return red, green, blue
