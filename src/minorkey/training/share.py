"""What one process adds to the loss of a batch that several share, so that their gradients are those of the whole.

The gradients of P processes are averaged. Where a loss is a mean over elements of which process p has n_p, the mean
over all of them is

    L = sum_p n_p L_p / N = (1 / P) sum_p (P n_p / N) L_p,    N = sum_p n_p,

so each process counts its loss P n_p / N times. Averaging the L_p as they are would favour the elements of images
that have few of them.
"""

from collections.abc import Iterable

import numpy as np
import torch.distributed as dist
from torch import Tensor, nn

from minorkey.data.sample import IGNORE_INDEX, RawBatch, RawPair
from minorkey.models.heads.detr import DETECTORS
from minorkey.models.heads.masks import MASK_MODELS
from minorkey.processes import process_count


def elements(network: nn.Module, batch: RawBatch | RawPair) -> int:
    """What the source loss of a network is a mean over: labelled pixels; images for one of masks or boxes.

    The criterion of those divides by the masks or boxes of all processes itself.
    """
    batch = batch.source if isinstance(batch, RawPair) else batch
    if isinstance(network, (*MASK_MODELS, *DETECTORS)):
        return len(batch.keys)
    return int((batch.labels != IGNORE_INDEX).sum())


def loss_shares(counts: np.ndarray) -> np.ndarray:
    """P n_p / N for the P processes, from their n_p; NaN where none has any element, as the mean over nothing is.

    >>> loss_shares(np.array([30.0, 10.0]))
    array([1.5, 0.5])
    """
    total = counts.sum()
    return len(counts) * counts / total if total else np.full(len(counts), np.nan)


def weighted(loss: Tensor, share: float) -> Tensor:
    """`share` times a loss; 0, and no gradient, for a share of 0, where the mean over nothing is NaN."""
    return (loss if share else loss.nan_to_num()) * share


def average_gradients(modules: Iterable[nn.Module]) -> None:
    """Average the gradients of modules that no wrapper averages over the processes, in place."""
    if process_count() == 1:
        return
    for gradient in [p.grad for module in modules for p in module.parameters() if p.grad is not None]:
        dist.all_reduce(gradient)
        gradient /= process_count()
