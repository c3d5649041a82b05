"""Training and evaluation mode, for a while."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(
    network: nn.Module, training: Iterable[nn.Module] = (), modules: Sequence[nn.Module] | None = None
) -> Iterator[None]:
    """Evaluation mode but for the modules in `training`; afterwards every module is in the mode that was its own.

    Args:
        network: the whole.
        training: these train meanwhile.
        modules: all of the network, where they are known: looking them up takes longer than switching them.
    """
    modules = list(network.modules()) if modules is None else modules
    trained = [module for module in modules if module.training]
    _set(trained, False)
    for module in training:
        module.train()
    try:
        yield
    finally:
        _set(modules, False)
        _set(trained, True)


def _set(modules: Iterable[nn.Module], mode: bool) -> None:
    # Past the `__setattr__` of modules, which looks for parameters of the name first: it would be most of the time.
    for module in modules:
        object.__setattr__(module, "training", mode)
