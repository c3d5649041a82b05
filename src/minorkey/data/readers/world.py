"""The built-in world as a data set: scenes rendered on demand, nothing on disk."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from minorkey import world
from minorkey.data.boxes import box_sides
from minorkey.data.readers.reader import Role
from minorkey.data.sample import Sample
from minorkey.errors import ConfigError, unknown
from minorkey.labels import IGNORE_INDEX, LabelSpace, apply_id_map, label_space
from minorkey.system.bounds import Side

TOO_LOW = 1 / 16
"""Share of an image's height below which an object is too low to be told apart; KITTI's is 25 of 375 pixels."""

TARGET_SCENES = 1_000_000
"""Added to the seed of a target, so that it shows other scenes than the sources of its run."""


class WorldOptions(BaseModel):
    """How much of the built-in world is seen, and how large."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0)
    train_count: PositiveInt = 1000  # scenes of a source or target domain
    eval_count: PositiveInt = 50  # scenes of an unseen domain
    size: tuple[Side, Side] = (256, 128)  # width, height in pixels


class WorldReader:
    """`count` scenes of one domain of the built-in world, labels mapped to a label space."""

    def __init__(
        self,
        seed: int,
        domain: str,
        count: int,
        size: tuple[int, int],
        space: LabelSpace | None,
        annotation: str = "pixels",
    ) -> None:
        """Choose the scenes.

        Args:
            seed: of the scenes; the same seed gives the same scenes in every domain.
            domain: a key of `minorkey.world.DOMAINS`.
            count: number of scenes.
            size: (width, height) in pixels.
            space: the label space of the run; None: images only.
            annotation: whether samples have labels, `pixels`, or `boxes`.

        Raises:
            ConfigError: unknown domain, or the label space has no place for a class of the world.
        """
        if domain not in world.DOMAINS:
            raise ConfigError(unknown("world domain", domain, world.DOMAINS))
        self.name = f"world:{domain}"
        self.domain = domain
        self.notes: tuple[str, ...] = ()
        self._seed, self._count, self._size = seed, count, size
        self._annotated = None if space is None else _annotated(annotation)(space)

    def __len__(self) -> int:
        """Number of scenes."""
        return self._count

    def key(self, index: int) -> str:
        """Seed and index of the scene: equal keys are the same scene in another domain."""
        return f"{self._seed}-{index:05d}"

    def __getitem__(self, index: int) -> Sample:
        """Render a scene."""
        if not 0 <= index < self._count:
            raise IndexError(f"scene {index} of {self._count}")
        rendered = world.render(self._seed, index, domain=self.domain, size=self._size)
        if self._annotated is None:
            return Sample(rendered.image, self.domain, self.key(index))
        return self._annotated(replace(Sample(**vars(rendered)), key=self.key(index)))


class _Labelled:
    """Maps the labels of a scene to a label space."""

    def __init__(self, space: LabelSpace) -> None:
        self._lookup = space.id_map(_drawn_ids())

    def __call__(self, sample: Sample) -> Sample:
        assert sample.labels is not None
        labels = apply_id_map(sample.labels, self._lookup, f"world:{sample.domain} {sample.key}")
        return replace(sample, labels=labels)


class _Boxed:
    """Maps the boxes of a scene to a label space, and leaves those of ignored classes out.

    Objects that are too low to be told apart are crowds, as KITTI has it.
    """

    def __init__(self, space: LabelSpace) -> None:
        places = space.places(world.DETECTION_CLASSES)
        self._lookup = np.array([places[name] for name in world.DETECTION_CLASSES], np.int64)

    def __call__(self, sample: Sample) -> Sample:
        assert sample.boxes is not None
        assert sample.box_classes is not None
        classes = self._lookup[sample.box_classes]
        kept = classes != IGNORE_INDEX
        boxes = sample.boxes[kept]
        crowd = box_sides(boxes)[:, 1] < TOO_LOW * sample.image.shape[0]
        return replace(sample, labels=None, boxes=boxes, box_classes=classes[kept], crowd=crowd)


_ANNOTATED: dict[str, Callable[[LabelSpace], Callable[[Sample], Sample]]] = {"pixels": _Labelled, "boxes": _Boxed}


def _annotated(annotation: str) -> Callable[[LabelSpace], Callable[[Sample], Sample]]:
    if annotation not in _ANNOTATED:
        raise ConfigError(f"the built-in world has no {annotation}, only {' and '.join(_ANNOTATED)}; name a data set")
    return _ANNOTATED[annotation]


def open_world(
    domain: str, role: Role, options: WorldOptions, space: LabelSpace | None, annotation: str = "pixels"
) -> WorldReader:
    """The scenes of a domain for a role.

    Even seeds are trained on and odd seeds judged on, so no scene is ever in both; all judged domains share
    their seed, so they show the same scenes and can be compared in pairs. A target shows none of the scenes of a
    source: in another weather they would be paired images, which real data does not have.
    """
    seed, count = {
        "source": (2 * options.seed, options.train_count),
        "target": (2 * (options.seed + TARGET_SCENES), options.train_count),
        "validation": (2 * options.seed + 1, options.eval_count),
        "unseen": (2 * options.seed + 1, options.eval_count),
    }[role]
    return WorldReader(seed, domain, count, options.size, None if role == "target" else space, annotation)


@cache
def _drawn_ids() -> dict[int, str]:
    """What the world draws: Cityscapes train ids."""
    return {**dict(enumerate(label_space("cityscapes19").classes)), IGNORE_INDEX: "ignore"}
