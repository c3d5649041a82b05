"""Which samples make up which batch: a pure function of seed and step, so that a run resumes exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np

from minorkey.errors import ConfigError

CYCLE = 1000
"""Slots over which the mix of the data sets is exact, up to rounding."""

# Last words of a seed: numpy pads seeds with zeros, so one without them would equal some (seed, step, slot).
_ORDER, _MIX = 1, 2


class Plan(Protocol):
    """Which samples make up the batch of a step, over all processes."""

    @property
    def seed(self) -> int:
        """What the order follows from, with the step; the augmentation too."""

    def indices(self, step: int) -> list[tuple[int, int]]:
        """The batch of a step (0 first): pairs (data set, index)."""

    def wanted_class(self, step: int, slot: int) -> int | None:
        """The class that a sample of the batch was drawn for, None for no class."""


@dataclass(frozen=True)
class StepPlan:
    """The order in which training walks through its data sets.

    Every data set is walked in a fresh permutation per epoch, without replacement; the data sets are mixed in
    shuffled cycles of about 1000 slots.
    """

    lengths: tuple[int, ...]  # samples of each data set
    batch_size: int
    seed: int
    weights: tuple[float, ...] | None = None  # share of each data set in the batches; by its length where absent

    def __post_init__(self) -> None:
        """Check the weights.

        Raises:
            ConfigError: there is not one weight above 0 for each data set.
        """
        check_weights(self._weights, len(self.lengths))

    def indices(self, step: int) -> list[tuple[int, int]]:
        """The batch of a step (0 first): `batch_size` pairs (data set, index)."""
        first = step * self.batch_size
        return [self._at(slot) for slot in range(first, first + self.batch_size)]

    def wanted_class(self, step: int, slot: int) -> None:
        """No class: every image has its turn."""

    def _at(self, slot: int) -> tuple[int, int]:
        """Data set and index of the slot with this number, counted from the start of training."""
        cycle, place = divmod(slot, sum(self._counts))
        order = _shuffled_cycle(self._counts, self.seed, cycle)
        dataset = int(order[place])
        drawn = cycle * self._counts[dataset] + int(np.count_nonzero(order[:place] == dataset))
        epoch, position = divmod(drawn, self.lengths[dataset])
        return dataset, int(_permutation(self.lengths[dataset], self.seed, dataset, epoch)[position])

    @property
    def _weights(self) -> tuple[float, ...]:
        return self.lengths if self.weights is None else self.weights

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        """Slots of each data set in a cycle."""
        return tuple(max(1, round(CYCLE * weight / sum(self._weights))) for weight in self._weights)


def check_weights(weights: Sequence[float], count: int) -> None:
    """Check the shares of `count` data sets.

    Raises:
        ConfigError: there is not one weight above 0 for each data set.
    """
    if len(weights) != count or not weights or min(weights) <= 0:
        raise ConfigError(f"weights {list(weights)} for {count} data sets: give each one above 0")


@lru_cache(maxsize=4)
def _shuffled_cycle(counts: tuple[int, ...], seed: int, cycle: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 0, cycle, _MIX])
    return rng.permutation(np.repeat(np.arange(len(counts)), counts))


@lru_cache(maxsize=16)
def _permutation(length: int, seed: int, dataset: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, dataset, epoch, _ORDER]).permutation(length)
