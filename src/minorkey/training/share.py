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
from dataclasses import replace

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from minorkey.data.sample import Batch
from minorkey.system.processes import process_count
from minorkey.tasks.counts import Counts


def with_shares(batch: Batch, counts: Counts, everyone: np.ndarray, process: int, place: int) -> Batch:
    """A labelled batch with its share in the loss of the step.

    Args:
        batch: the one of `process` at `place`.
        counts: its own.
        everyone: elements and objects of all batches of the step, `(P, A, 2)`.
        process: 0 ... P - 1.
        place: 0 ... A - 1.
    """
    mean = float(loss_shares(everyone[..., 0])[process, place])
    if counts.averaged is None:
        return replace(batch, share=mean)
    share = float(divided_shares(everyone[..., 1])[place])
    return replace(batch, share=share, shares=dict.fromkeys(counts.averaged, mean))


def loss_shares(counts: np.ndarray) -> np.ndarray:
    """P A n / N for the P A batches, from their n; 0 where none has any element: nothing is learnt of it.

    >>> loss_shares(np.array([30.0, 10.0]))
    array([1.5, 0.5])
    """
    total = counts.sum()
    return counts.size * counts / total if total else np.zeros(counts.shape)


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
