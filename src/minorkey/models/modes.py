"""Training and evaluation mode, for a while."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: nn.Module, training: Iterable[nn.Module] = ()) -> Iterator[None]:
    """Evaluation mode but for the modules in `training`; afterwards every module is in the mode that was its own."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    for module in training:
        module.train()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
