"""What a loss is taken over, and the share of one batch in the loss of a step that several share."""

from typing import NamedTuple

from torch import Tensor

from minorkey.data.sample import Batch


class Counts(NamedTuple):
    """What the terms of a loss on a batch are taken over; the first two are added up over batches and processes."""

    elements: float = 0.0  # that terms are means over: labelled pixels, images, weighted queries
    objects: float = 0.0  # that a criterion divides its sums by itself: masks or boxes
    averaged: frozenset[str] | None = None  # the terms that are means over `elements`, others over objects; None: all


def weighted(loss: Tensor, share: float) -> Tensor:
    """`share` times a loss; 0, and no gradient, for a share of 0, where someone's mean over nothing is NaN."""
    return (loss if share else loss.nan_to_num()) * share


def shared(terms: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """The terms of the task's loss on a labelled batch, each counted by its share."""
    return {name: weighted(term, batch.shares.get(name, batch.share)) for name, term in terms.items()}
