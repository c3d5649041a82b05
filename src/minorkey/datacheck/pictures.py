"""Images with their labels over them, as they stand in a page."""

from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from minorkey.data.readers import Reader
from minorkey.data.records import evenly_spread
from minorkey.errors import MinorkeyError
from minorkey.labels import LabelSpace
from minorkey.tasks.base import Task
from minorkey.tasks.pictures import photo, resized


@dataclass(frozen=True)
class Picture:
    """An image as data URIs."""

    key: str
    image: str
    overlay: str | None  # None: it has no labels that can be drawn
    text: str = ""  # its labels in words, or that it has none


def pictures(reader: Reader, space: LabelSpace, task: Task, count: int) -> Iterator[Picture]:
    """Evenly spread images of a data set; those that cannot be read are left out."""
    for index in evenly_spread(len(reader), count):
        try:
            sample = reader[index]
        except MinorkeyError:
            continue
        small = resized(sample.picture, task.counted.width, Image.Resampling.LANCZOS)
        drawn, text = task.draw_labels(sample, small, space), task.label_text(sample, space)
        overlay = None if drawn is None else photo(drawn, small.shape[1])
        yield Picture(sample.key, photo(small, small.shape[1]), overlay, text if text or overlay else "no labels")
