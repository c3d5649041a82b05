"""One to one matching of queries with what they are to find, of all layers of a decoder in one trip to the host.

The assignment of least cost (DETR, arXiv 2005.12872) is found on the host, which waits for the device once: for the
costs of all layers and images.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from minorkey.system.reduction import process_count, sum_over_processes
from minorkey.system.transfer import send


class Matches(NamedTuple):
    """Which query of an image is to find which target of it, for each layer `(L, M)` int64."""

    images: Tensor
    queries: Tensor
    targets: Tensor


@torch.no_grad()
def match(costs: Sequence[Tensor]) -> list[Matches]:
    """The matches of least cost: every target has a query, or every query a target where there are fewer of them.

    Costs that are not finite are chosen where nothing else is left, as by the matchers of transformers.

    Args:
        costs: `(L, B, Q, K)` float32, on one device; +inf in the columns of targets that an image does not have
            (`without_absent`). L, Q and K may differ from one to the next.

    Returns:
        For each of the costs, the matches in the order of their images, on the same device.
    """
    values = torch.cat([cost.flatten() for cost in costs]).cpu().numpy()
    parts = np.split(values, np.cumsum([cost.numel() for cost in costs])[:-1])
    found = [_of_layers(part.reshape(cost.shape)) for part, cost in zip(parts, costs, strict=True)]
    packed = send(np.concatenate([matches.ravel() for matches in found]), costs[0].device)
    sizes = [matches.size for matches in found]
    return [Matches(*part.view(matches.shape)) for part, matches in zip(packed.split(sizes), found, strict=True)]


def without_absent(costs: Tensor, present: Tensor) -> Tensor:
    """Costs `(L, B, Q, K)` as `match` takes them, of targets that are `present` `(B, K)` bool."""
    most = torch.finfo(costs.dtype).max
    return torch.nan_to_num(costs, nan=most, posinf=most, neginf=most).where(present[:, None], torch.inf)


def average_count(count: Tensor) -> Tensor:
    """A number of targets, averaged over the processes, which call this at one time; at least 1, as a scalar."""
    return (sum_over_processes(count.float()) / process_count()).clamp(min=1)


def _of_layers(costs: np.ndarray) -> np.ndarray:
    """Image, query and target of the matches `(3, L, M)` of `(L, B, Q, K)`."""
    return np.stack([np.concatenate([_of_image(i, c) for i, c in enumerate(layer)], axis=1) for layer in costs], axis=1)


def _of_image(image: int, costs: np.ndarray) -> np.ndarray:
    present = np.flatnonzero(costs[0] < np.inf)
    queries, targets = linear_sum_assignment(costs[:, present])
    return np.stack([np.full_like(queries, image), queries, present[targets]])
