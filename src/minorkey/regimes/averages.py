"""Averages of weights over the steps of a training, as teachers and deployed averages are."""

from collections.abc import Mapping

import torch
from torch import Tensor


@torch.no_grad()
def move_averages(averages: Mapping[str, Tensor], values: Mapping[str, Tensor], momentum: float) -> None:
    """theta_bar <- m theta_bar + (1 - m) theta, in place, for each of `values`.

    Args:
        averages: theta_bar by name, floating point; there may be others.
        values: theta by name, in the same shapes.
        momentum: m, the share of the average that is kept, in [0, 1].

    >>> averages = {"w": torch.tensor([0.0, 8.0])}
    >>> move_averages(averages, {"w": torch.tensor([4.0, 0.0])}, momentum=0.75)
    >>> averages["w"].tolist()
    [1.0, 6.0]
    """
    if values:
        kept = [averages[name] for name in values]
        torch._foreach_lerp_(kept, [value.detach() for value in values.values()], 1 - momentum)
