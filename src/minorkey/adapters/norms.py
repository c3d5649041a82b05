"""The normalisation layers of a network."""

import re
import warnings

from torch import nn

from minorkey.adapters.selection import check_owned
from minorkey.adapters.targets import may_be_passed_by, shortened
from minorkey.errors import AdapterError

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises: torch's own kinds, and others by the end of their class name, as `LayerNorm2d`.

    One around further modules with parameters, as `PreNorm`, does more than that.
    """
    if isinstance(module, NORMS):
        return True
    named = re.search(r"Norm(Act)?(\dd)?$", type(module).__name__) is not None
    return named and all(next(child.parameters(), None) is None for child in module.children())


def find_norms(network: nn.Module) -> list[str]:
    """Names of the normalisation layers that have weights of their own, in the order of modules.

    Raises:
        AdapterError: if there is none, or one is used in several places.

    Warns:
        UserWarning: layers that a module of torch around them does not call.
    """
    found = {
        name: module
        for name, module in network.named_modules()
        if name and is_norm(module) and next(module.parameters(recurse=False), None) is not None
    }
    uncalled = [name for name in found if may_be_passed_by(network, name)]
    if len(uncalled) == len(found):
        raise AdapterError(f"{type(network).__name__} has no normalisation layers to train; choose another method")
    if uncalled:
        message = (
            f"{len(uncalled)} norms are not trained, as what is around them does not call them: {shortened(uncalled)}"
        )
        warnings.warn(message, stacklevel=4)  # where attach was called
    chosen = {name: module for name, module in found.items() if name not in uncalled}
    check_owned(network, [(name, module, module.parameters(recurse=False)) for name, module in chosen.items()])
    return list(chosen)
