"""The reader of classified images."""

from math import ceil

import numpy as np

from minorkey.data.images import read_image
from minorkey.data.readers.categories.listing import Listed, check_split, listed
from minorkey.data.readers.categories.spec import DRAWN, WHOLE, CategorySpec
from minorkey.data.readers.files import Files
from minorkey.data.sample import Sample
from minorkey.errors import ConfigError
from minorkey.labels import LabelSpace, plain_name


class CategoryReader:
    """Images of one domain, each with the class that it shows.

    Args:
        files: what lies below the root of the data set.
        spec: how its images are named.
        split: one of its splits.
        space: the label space of the run; None: classes are left alone.
        name: how the data set was asked for.
        domain: the domain that the samples carry.
        place: the folder of the domain, where the data set has several.
        seed: draws `train` and `val` where the data set has no splits of its own.

    Raises:
        NoImages: nothing below the root has the names of its images.
        DataError: no such split, or a class folder holds no images.
        ConfigError: the label space has no place for a class of the data set.
    """

    def __init__(
        self,
        files: Files,
        spec: CategorySpec,
        split: str,
        space: LabelSpace | None,
        *,
        name: str,
        domain: str,
        place: str = "",
        seed: int = 0,
    ) -> None:
        self.name, self.domain, self._files = name, domain, files
        domain_images, images = split_of(files, spec, split, place, seed)
        self.categories = _called(spec, domain_images)
        self._train_ids: dict[str, int] | None = None
        self.notes: tuple[str, ...] = ()
        if space is not None:
            places = category_places(space, spec, {image.category for image in images})
            images = [image for image in images if image.category in places]
            self._train_ids = places
            shown = set(places.values())
            absent = [title for number, title in enumerate(space.classes) if number not in shown]
            self.notes = (f"no image of {name} shows {', '.join(absent)}",) if absent else ()
        self._images = images

    def __len__(self) -> int:
        """Number of images in the split."""
        return len(self._images)

    def key(self, index: int) -> str:
        """The class folder and the name of the image in it, without suffix."""
        return self._images[index].key

    def file(self, index: int) -> tuple[str, bytes]:
        """The file of an image as errors name it, and its content.

        Raises:
            DataError: it is missing or cannot be read.
        """
        address = self._images[index].address
        return self._files.where(address), self._files.read(address)

    def __getitem__(self, index: int) -> Sample:
        """Read an image.

        Raises:
            DataError: its file is unreadable or truncated.
        """
        listed = self._images[index]
        image = self._files.decoded(listed.address, "image", read_image)
        category = None if self._train_ids is None else self._train_ids[listed.category]
        return Sample(image=image, domain=self.domain, key=listed.key, category=category)


def split_of(files: Files, spec: CategorySpec, split: str, place: str, seed: int) -> tuple[list[Listed], list[Listed]]:
    """The images that a split of a domain is part of, and its own, sorted by key.

    Where no splits are published, `val` is a share of all images of the domain, drawn by `seed`, `train` the others and
    `all` both, as DomainBed (arXiv 2007.01434) has it.

    Raises:
        DataError: there is no such split, or it has no images.
    """
    known = spec.known(split, place)
    if spec.published:
        check_split(files, spec, split, tuple(spec.splits))
        images = listed(files, spec, known)
        return images, images
    check_split(files, spec, split, DRAWN)
    images = listed(files, spec, {"domain": known["domain"]})
    return images, [images[place] for place in drawn_part(len(images), split, spec.held_out, seed)]


def drawn_part(length: int, split: str, held_out: float, seed: int) -> list[int]:
    """The places, in order, of the images of a domain that are `train`, `val` or `all` of it; see `split_of`.

    >>> drawn_part(5, "train", 0.2, seed=0), drawn_part(5, "val", 0.2, seed=0)
    ([1, 2, 3, 4], [0])
    """
    order = np.random.default_rng([seed, length]).permutation(length)
    count = ceil(held_out * length)
    chosen = {"val": order[:count], "train": order[count:], WHOLE: order}[split]
    return sorted(chosen.tolist())


def _called(spec: CategorySpec, images: list[Listed]) -> tuple[str, ...]:
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
