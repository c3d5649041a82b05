"""Batches of a labelled source and an unlabelled target, side by side for unsupervised domain adaptation."""

from collections.abc import Iterator
from dataclasses import dataclass

from minorkey.data.loaders import TrainingLoader
from minorkey.data.sample import RawPair

TARGET_SEED = 1_000_003
"""Added to the seed of a run for its target, whose order and crops are then independent of those of the source."""


@dataclass(frozen=True)
class PairLoader:
    """One batch of the source and one of the target per step, from two loaders of the same steps.

    Each pair depends on the seeds of the two loaders and on the step only, as their batches do.
    """

    source: TrainingLoader
    target: TrainingLoader

    def __iter__(self) -> Iterator[RawPair]:
        """One pair per step.

        Raises:
            DataError: an image or label file of the pair is missing, unreadable or inconsistent.
        """
        for source, target in zip(self.source, self.target, strict=True):
            yield RawPair(source, target)

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.source)

    def keys(self, step: int) -> list[str]:
        """The images that make up the pair of a step (0 first) over all processes, as `domain/key`, source first."""
        return self.source.keys(step) + self.target.keys(step)
