"""The normalisation layers of a network."""

from torch import nn

from minorkey.errors import AdapterError

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises: torch's own kinds, and models' own by the end of their class name."""
    return isinstance(module, NORMS) or type(module).__name__.endswith("Norm")


def find_norms(network: nn.Module) -> list[str]:
    """Names of the normalisation layers that have weights of their own, in the order of modules.

    Raises:
        AdapterError: if there is none.
    """
    found = [
        name
        for name, module in network.named_modules()
        if name and is_norm(module) and next(module.parameters(recurse=False), None) is not None
    ]
    if not found:
        raise AdapterError(f"{type(network).__name__} has no normalisation layers to train; choose another method")
    return found
