"""What one batch adds to the loss of a step that several share, so that their gradients are those of the whole.

A step's images may be spread over P processes, whose gradients are averaged, and over A batches of each, whose losses
are averaged. Where a loss is a mean over elements of which batch b of the P A has n_b, the mean over all of them is

    L = sum_b n_b L_b / N = (1 / (P A)) sum_b (P A n_b / N) L_b,    N = sum_b n_b,

so each batch counts its loss P A n_b / N times. Averaging the L_b as they are would favour the elements of images that
have few of them.

The criteria of masks and boxes are no such means. They divide a sum by the objects of the batch, averaged over the
processes and at least 1, themselves; what is left to do is to put the count of all A batches in place of that of one.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from minorkey.data.sample import IGNORE_INDEX, Batch, RawBatch, RawPair
from minorkey.models.heads.detection.detr import DETECTORS
from minorkey.models.heads.segmentation.masks import MASK_MODELS
from minorkey.system.processes import process_count

CLASS_TERM = "loss_cross_entropy"
"""The term of a mask head that is a mean over its queries, weighted by what they are to say."""


class Counts(NamedTuple):
    """What the source loss of a batch is taken over."""

    elements: float  # labelled pixels, masks or boxes
    queries: float = 0.0  # of a mask head, those without an object weighted as its class loss has it


def elements(network: nn.Module, batch: RawBatch | RawPair) -> Counts:
    """What the source loss of a network on a batch is taken over; no tensor of a device is read."""
    batch = batch.source if isinstance(batch, RawPair) else batch
    if isinstance(network, DETECTORS):
        return Counts(len(batch.boxes.boxes) if batch.boxes is not None else 0)
    if not isinstance(network, MASK_MODELS):
        return Counts(int((batch.labels != IGNORE_INDEX).sum()))
    masks = [_classes_present(image) for image in batch.labels]
    queries, idle = network.config.num_queries, network.config.no_object_weight
    matched = sum(min(count, queries) for count in masks)
    return Counts(sum(masks), matched + idle * (len(masks) * queries - matched))


def _classes_present(labels: Tensor) -> int:
    return int(np.count_nonzero(np.bincount(labels.numpy().ravel(), minlength=IGNORE_INDEX)[:IGNORE_INDEX]))


def set_shares(network: nn.Module, batch: Batch, counts: np.ndarray, process: int, place: int) -> None:
    """Give a labelled batch its share in the loss of the step.

    Args:
        network: what learns of it.
        batch: the one of `process` at `place`.
        counts: `Counts` of all batches of the step, `(P, A, 2)`.
        process: 0 ... P - 1.
        place: 0 ... A - 1.
    """
    if not isinstance(network, (*MASK_MODELS, *DETECTORS)):
        batch.share = float(loss_shares(counts[..., 0])[process, place])
        return
    batch.share = float(divided_shares(counts[..., 0])[place])
    if isinstance(network, MASK_MODELS):
        batch.shares = {CLASS_TERM: float(loss_shares(counts[..., 1])[process, place])}


def loss_shares(counts: np.ndarray) -> np.ndarray:
    """P A n / N for the P A batches, from their n; NaN where none has any element, as the mean over nothing is.

    >>> loss_shares(np.array([30.0, 10.0]))
    array([1.5, 0.5])
    """
    total = counts.sum()
    return counts.size * counts / total if total else np.full(counts.shape, np.nan)


def divided_shares(counts: np.ndarray) -> np.ndarray:
    """A c_a / c for A batches whose criterion divides by c_a, where c is to be in its place.

    Args:
        counts: `(P, A)`, the objects of every batch; c_a is their mean over the processes, and c their sum over the
            batches as well, each at least 1.

    >>> divided_shares(np.array([[3.0, 0.0], [3.0, 2.0]]))
    array([1.5, 0.5])
    """
    batches, whole = counts.mean(axis=0), counts.sum() / len(counts)
    return len(batches) * batches.clip(min=1) / max(1.0, whole)


def weighted(loss: Tensor, share: float) -> Tensor:
    """`share` times a loss; 0, and no gradient, for a share of 0, where the mean over nothing is NaN."""
    return (loss if share else loss.nan_to_num()) * share


def shared(terms: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """The terms of the task's loss on a labelled batch, each counted by its share."""
    return {name: weighted(term, batch.shares.get(name, batch.share)) for name, term in terms.items()}


def average_gradients(modules: Iterable[nn.Module]) -> None:
    """Average the gradients of modules that no wrapper averages over the processes, in place and in one exchange."""
    gradients = [p.grad for module in modules for p in module.parameters() if p.grad is not None]
    if process_count() == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= process_count()
    parts: Sequence[Tensor] = flat.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])
