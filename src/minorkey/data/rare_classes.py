"""Rare-class sampling: images are drawn for the sake of a class, rare classes more often than common ones.

Source: DAFormer (arXiv 2111.14887), for the probabilities of the classes, the images of a class (those with more than
3000 of its pixels in a label image of GTA5) and the crop that is tried again (`transforms.LEAST_WANTED_SHARE`). Ours:
shares of an image in place of pixels, so that the size of the images does not matter; all images that show a class
where none shows enough of it; several data sets with weights; and a draw that depends on seed and slot only.
"""

from typing import NamedTuple

import numpy as np

from minorkey.data.plan import check_weights
from minorkey.data.statistics import class_prior, rare_class_probabilities

LEAST_IMAGE_SHARE = 3000 / (1914 * 1052)
"""Of the labelled pixels of an image that is drawn for a class, those of that class."""

# Last word of a seed, other than those of `plan.py`.
_RARE = 3


class RareClasses(NamedTuple):
    """What rare-class sampling needs to know of the data sets."""

    counts: tuple[np.ndarray, ...]  # per data set (N, K) pixels per image and class, as `statistics.count_images`
    temperature: float = 0.01  # of `statistics.rare_class_probabilities`, above 0


class RareClassPlan:
    """A `Plan` that draws a class for every slot, then one of its images, with replacement.

    An image's chance among those of its class is the weight of its data set over the number of images there: the same
    for all images where the data sets have no weights.
    """

    def __init__(self, rare: RareClasses, batch_size: int, seed: int, weights: tuple[float, ...] | None = None) -> None:
        """Compute the chances.

        Args:
            rare: the classes of every image.
            batch_size: samples per step over all processes.
            seed: of the draw.
            weights: share of each data set; by its length where absent.

        Raises:
            ConfigError: there is not one weight above 0 for each data set.
            DataError: no class occurs in any of the data sets.
        """
        lengths = [len(rows) for rows in rare.counts]
        check_weights(lengths if weights is None else weights, len(lengths))
        self.batch_size, self.seed = batch_size, seed
        self._classes = rare_class_probabilities(class_prior(rare.counts, weights), rare.temperature).cumsum()
        self._places = [(dataset, index) for dataset, length in enumerate(lengths) for index in range(length)]
        chances = np.repeat(np.divide(lengths if weights is None else weights, lengths), lengths)
        counts = np.concatenate(rare.counts)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        self._images = [enough_of(column) for column in shares.T]  # for each class
        self._cumulated = [chances[images].cumsum() for images in self._images]

    def indices(self, step: int) -> list[tuple[int, int]]:
        """The batch of a step (0 first): `batch_size` pairs (data set, index)."""
        first = step * self.batch_size
        return [self._at(slot)[1] for slot in range(first, first + self.batch_size)]

    def wanted_class(self, step: int, slot: int) -> int:
        """The class that a sample of the batch was drawn for."""
        return self._at(step * self.batch_size + slot)[0]

    def _at(self, slot: int) -> tuple[int, tuple[int, int]]:
        """Class, and data set and index, of the slot with this number, counted from the start of training."""
        rng = np.random.default_rng([self.seed, 0, slot, _RARE])
        wanted = _draw(self._classes, rng)
        drawn = _draw(self._cumulated[wanted], rng)
        return wanted, self._places[self._images[wanted][drawn]]


def _draw(cumulated: np.ndarray, rng: np.random.Generator) -> int:
    """A place by chances of which `cumulated` (n,) is the running sum; a chance of 0 is never drawn."""
    return int(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right"))


def enough_of(shares: np.ndarray) -> np.ndarray:
    """Which images to draw for a class: those that show enough of it or, if none does, all that show any.

    Args:
        shares: `(N,)` share of the class in every image, 0 ... 1.

    Returns:
        `(n,)` their indices.
    """
    enough = np.flatnonzero(shares >= LEAST_IMAGE_SHARE)
    return enough if len(enough) else np.flatnonzero(shares)
