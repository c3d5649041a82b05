"""The pseudo-labels of a few target images over time, as small pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minorkey.errors import DataError
from minorkey.labels import IGNORE_INDEX, LabelSpace
from minorkey.reporting.adaptation.log import LogPart
from minorkey.reporting.runs import Place
from minorkey.tasks.pictures import Pixels, label_map, photo, read_picture

WIDTH = 220
"""Of a small picture, pixels."""
MOMENTS = 5
"""Steps that are shown of a run."""
IMAGES = 4
"""Target images that are shown of a run."""


@dataclass(frozen=True)
class Strip:
    """One target image; pictures as data URIs, `None` where a step has none of it."""

    domain: str
    key: str
    image: str
    teacher: list[str | None]  # one per moment
    kept: str  # the last pseudo-labels; black where they are not kept
    student: str  # at the last moment
    kept_share: float  # percent of all pixels
    agreement: float  # percent of all pixels


@dataclass(frozen=True)
class Timeline:
    """The strips of a run below their common headings."""

    moments: list[str]
    strips: list[Strip]
    classes: set[int]  # train ids that occur


def build_timeline(parts: Sequence[LogPart], space: LabelSpace) -> Timeline | None:
    """At most `IMAGES` images at `MOMENTS` steps, spread evenly from the first to the last; `None` without pictures.

    Raises:
        DataError: A picture cannot be read, or those of one image differ in size.
    """
    taken = [(part, step) for part in parts for step in part.snapshots]
    if not taken:
        return None
    chosen = [taken[i] for i in np.unique(np.linspace(0, len(taken) - 1, MOMENTS).round().astype(int))]
    pictures = [part.snapshots[step] for part, step in chosen]
    places = list(pictures[-1])[:IMAGES]
    strips = [_strip(place, pictures, space) for place in places]
    shown = [read_picture(last[place] / "teacher.png", "L") for last in pictures for place in places if place in last]
    return Timeline(
        moments=[", ".join(filter(None, (part.name, f"step {step:,}"))) for part, step in chosen],
        strips=strips,
        classes={int(value) for labels in shown for value in np.unique(labels)} - {IGNORE_INDEX},
    )


def _strip(place: Place, pictures: Sequence[dict[Place, Path]], space: LabelSpace) -> Strip:
    folder = pictures[-1][place]
    teacher, student, kept = (read_picture(folder / f"{name}.png", "L") for name in ("teacher", "student", "kept"))
    if not teacher.shape == student.shape == kept.shape:
        raise DataError(f"the pictures in {folder} differ in size; delete the folder to leave them out")
    return Strip(
        *place,
        image=photo(read_picture(folder / "image.png", "RGB"), WIDTH),
        teacher=[_labels(moment[place], space) if place in moment else None for moment in pictures],
        kept=label_map(_only(teacher, kept), space, WIDTH),
        student=label_map(student, space, WIDTH),
        kept_share=100 * float((kept > 0).mean()),
        agreement=100 * float((teacher == student).mean()),
    )


def _labels(folder: Path, space: LabelSpace) -> str:
    return label_map(read_picture(folder / "teacher.png", "L"), space, WIDTH)


def _only(labels: Pixels, kept: Pixels) -> Pixels:
    return np.where(kept > 0, labels, IGNORE_INDEX).astype(np.uint8)
