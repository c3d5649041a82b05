"""The reader of classified images."""

from collections import Counter
from math import ceil

import numpy as np

from minorkey.data.readers.categories.listing import Classified, check_split, listed
from minorkey.data.readers.categories.spec import DRAWN, WHOLE, CategorySpec
from minorkey.data.readers.on_disk import IGNORED, DiskReader, Part
from minorkey.data.sample import Sample
from minorkey.errors import ConfigError
from minorkey.labels import LabelSpace, plain_name


class CategoryReader(DiskReader[Classified]):
    """Images of one domain, each with the class that it shows; a key is the class folder and the name in it.

    Args:
        spec: how its images are named.
        part: what is read; its seed draws `train` and `val` where the data set has no splits of its own.

    Raises:
        NoImages: nothing below the root has the names of its images.
        DataError: no such split, or a class folder holds no images.
        ConfigError: the label space has no place for a class of the data set.
    """

    def __init__(self, spec: CategorySpec, part: Part) -> None:
        domain_images, images = split_of(spec, part)
        self.categories = _called(spec, domain_images)
        self._train_ids: dict[str, int] | None = None
        self._becomes: dict[str, str] = {}
        left_out: Counter[str] = Counter()
        notes = []
        if part.space is not None:
            places = category_places(part.space, spec, {image.category for image in images})
            shown_as = {name: part.space.classes[place] for name, place in places.items()}
            left_out = Counter(image.category for image in images if image.category not in places)
            self._becomes = shown_as | dict.fromkeys(left_out, IGNORED)
            images = [image for image in images if image.category in places]
            self._train_ids = places
            shown = set(places.values())
            if absent := [title for number, title in enumerate(part.space.classes) if number not in shown]:
                notes = [f"no image of {part.name} shows {', '.join(absent)}"]
        super().__init__(part, images, notes)
        self.left_out = dict(left_out)

    def becomes(self) -> dict[str, str]:
        """The classes of the data set, and what each is in the label space of the run."""
        return self._becomes

    def own_counts(self, index: int) -> dict[str, int] | None:
        """The class of the data set that an image shows; None where classes are left alone."""
        return None if self._train_ids is None else {self._images[index].category: 1}

    def __getitem__(self, index: int) -> Sample:
        """Read an image.

        Raises:
            DataError: its file is unreadable or truncated.
        """
        image = self._images[index]
        category = None if self._train_ids is None else self._train_ids[image.category]
        return Sample(
            image=self._read(image), domain=self.domain, key=image.key, category=category, shown=self.pixels.places
        )


def split_of(spec: CategorySpec, part: Part) -> tuple[list[Classified], list[Classified]]:
    """The images that a split of a domain is part of, and its own, sorted by key.

    Where no splits are published, `val` is a share of all images of the domain, drawn by the seed, `train` the others
    and `all` both, as DomainBed (arXiv 2007.01434) has it.

    Raises:
        DataError: there is no such split, or it has no images.
    """
    files, split, known = part.files, part.split, spec.known(part.split, part.place)
    if spec.published:
        check_split(files, split, tuple(spec.splits))
        images = listed(files, spec, known)
        return images, images
    check_split(files, split, DRAWN)
    images = listed(files, spec, {"domain": known["domain"]})
    return images, [images[place] for place in drawn_part(len(images), split, spec.held_out, part.seed)]


def drawn_part(length: int, split: str, held_out: float, seed: int) -> list[int]:
    """The places, in order, of the images of a domain that are `train`, `val` or `all` of it; see `split_of`.

    >>> drawn_part(5, "train", 0.2, seed=0), drawn_part(5, "val", 0.2, seed=0)
    ([1, 2, 3, 4], [0])
    """
    order = np.random.default_rng([seed, length]).permutation(length)
    count = ceil(held_out * length)
    chosen = {"val": order[:count], "train": order[count:], WHOLE: order}[split]
    return sorted(chosen.tolist())


def _called(spec: CategorySpec, images: list[Classified]) -> tuple[str, ...]:
    """The names of the classes of these images that are not left out."""
    ignored = {plain_name(name) for name in spec.ignores}
    names = dict.fromkeys(spec.read_as.get(image.category, image.category) for image in images)
    return tuple(name for name in names if plain_name(name) not in ignored)


def category_places(space: LabelSpace, spec: CategorySpec, categories: set[str]) -> dict[str, int]:
    """The train id of each class of a data set that is not left out, by the data set's own name.

    Raises:
        ConfigError: the space has no place for one.
    """
    # Not by `LabelSpace.places`: its 255 for what is ignored is a class like any other here.
    known = dict(space.train_ids) | {plain_name(name): place for place, name in enumerate(space.classes)}
    ignored = {plain_name(name) for name in spec.ignores}
    names = {category: plain_name(spec.read_as.get(category, category)) for category in sorted(categories)}
    strange = [category for category, name in names.items() if name not in known and name not in ignored]
    if strange:
        raise ConfigError(
            f"label space '{space.name}' has no place for class '{strange[0]}'; choose one that has, rename the class "
            "by `read_as` in dataset.yaml, or leave it out by `ignores`"
        )
    return {
        category: known[name] for category, name in names.items() if name not in ignored and known[name] < len(space)
    }
