"""From the class names of a data set to the label space of a run: which boxes stay, as what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from minorkey.data.boxes import box_faults, clip_boxes, cut_boxes
from minorkey.data.readers.boxes.objects import Objects
from minorkey.data.readers.boxes.spec import ANY_CLASS, BoxSpec
from minorkey.data.readers.on_disk import IGNORED
from minorkey.errors import DataError
from minorkey.labels import IGNORE_INDEX, LabelSpace, plain_name
from minorkey.system.bounds import MOST_BOXES


@dataclass(frozen=True)
class Place:
    """What the boxes of a class become: one box of each of these train ids; none: they are left out."""

    train_ids: tuple[int, ...] = ()
    crowd: bool = False


@dataclass(frozen=True)
class BoxPlaces:
    """The place of every class of a data set in a label space."""

    places: Mapping[str, Place]  # plain class name -> its place
    drop_empty: bool
    titles: tuple[str, ...]  # of the classes of the label space

    @classmethod
    def of(cls, names: Iterable[str], spec: BoxSpec, space: LabelSpace) -> "BoxPlaces":
        """For the classes that the files of a data set name.

        Raises:
            ConfigError: the label space has no place for one.
        """
        crowds = _crowds(spec, space)
        read_as = {name: target for target, those in spec.read_as.items() for name in those}
        known = [name for name in names if plain_name(name) not in crowds]
        single = {
            plain_name(name): Place() if place == IGNORE_INDEX else Place((place,))
            for name, place in space.places(known, spec.ignores, read_as).items()
        }
        return cls({**single, **crowds}, spec.drop_empty, space.classes)

    def placed(self, objects: Objects, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """The boxes of an image in the label space, clipped to it.

        Args:
            objects: of the image.
            width: of the image, in pixels.
            height: of the image, in pixels.

        Returns:
            boxes (N, 4) float32, their train ids (N,) int64, whether they are crowds (N,) bool, and how many
            objects were clipped.

        Raises:
            DataError: there are more than `MOST_BOXES`, an object is of a class that no map names, or its box is NaN,
                inverted, empty or outside.
        """
        if len(objects.names) > MOST_BOXES:
            raise DataError(
                f"{objects.file}: {len(objects.names)} boxes in one image, at most {MOST_BOXES} are read; mend the "
                "file, or cut the image into parts"
            )
        places = [self._place(objects, row) for row in range(len(objects.names))]
        kept = np.array([row for row, place in enumerate(places) for _ in place.train_ids], np.int64)
        classes = np.array([train_id for place in places for train_id in place.train_ids], np.int64)
        crowd = objects.crowd[kept] | np.array([places[row].crowd for row in kept], bool)
        faults = box_faults(objects.boxes[kept], width, height)
        if self.drop_empty:
            solid = np.array([fault != "empty" for fault in faults], bool)
            kept, classes, crowd = kept[solid], classes[solid], crowd[solid]
            faults = [fault for fault in faults if fault != "empty"]
        _refuse(objects, kept, list(faults), f"{width}x{height}")
        boxes = clip_boxes(objects.boxes[kept], width, height).astype(np.float32)
        once = np.unique(kept)  # a crowd of several classes is one box of each
        return boxes, classes, crowd, int(cut_boxes(objects.boxes[once], width, height).sum())

    def named(self, names: Iterable[str]) -> dict[str, str]:
        """What classes of the data set become, in words."""
        return {name: self._named(self.places[plain_name(name)]) for name in names}

    def _named(self, place: Place) -> str:
        every = len(place.train_ids) == len(self.titles) > 1
        titles = "any class" if every else ", ".join(self.titles[train_id] for train_id in place.train_ids)
        return IGNORED if not place.train_ids else f"crowd of {titles}" if place.crowd else titles

    def _place(self, objects: Objects, row: int) -> Place:
        name = objects.names[row]
        place = self.places.get(plain_name(name))
        if place is None:
            raise DataError(
                f"{objects.called(row)} is of class '{name}', which no map names; "
                "add it to the `classes` of the data set, or to its `ignores` if unused"
            )
        return place


def _refuse(objects: Objects, kept: np.ndarray, faults: list[str | None], size: str) -> None:
    """Raise if a box that is kept is at fault; the line names the first and counts the others."""
    wrong = list(dict.fromkeys((int(row), fault) for row, fault in zip(kept, faults, strict=True) if fault))
    if not wrong:
        return
    row, fault = wrong[0]
    corners = " ".join(f"{value:g}" for value in objects.boxes[row])
    more = f" (and {len(wrong) - 1} more of this image)" if len(wrong) > 1 else ""
    way = " (`drop_empty: true` in dataset.yaml leaves such boxes out)" if fault == "empty" else ""
    raise DataError(
        f"{objects.called(row)}: box x0 y0 x1 y1 = {corners} of '{objects.names[row]}' is {fault} in an image of "
        f"{size}{way}; mend or remove it{more}"
    )


def _crowds(spec: BoxSpec, space: LabelSpace) -> dict[str, Place]:
    """The places of the classes that are crowds of others; a space that has one itself takes it as its own."""
    targets: dict[str, set[int]] = {}
    for target, names in spec.crowds.items():
        own = space.own(target)
        ids = range(len(space)) if target == ANY_CLASS else () if own is None else (own,)
        for name in names:
            if space.own(name) is None:
                targets.setdefault(plain_name(name), set()).update(ids)
    return {name: Place(tuple(sorted(ids)), crowd=True) for name, ids in targets.items()}
