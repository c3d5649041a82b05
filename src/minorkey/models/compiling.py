"""torch.compile for training: the forward pass of a network as one graph."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from minorkey.errors import ModelError


def compile_network(part: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile the passes of a network in place; names in its state dict stay. `precision.computing` goes around it.

    Args:
        part: the network, or what `Head.compiled` names of it, whose training images are all of one size: each further
            size is compiled anew.
        backend: of `torch.compile`.

    Raises (from the passes):
        ModelError: the passes are no single graph.
    """
    dropping: list[Any] = [module for module in part.modules() if hasattr(module, "layerdrop")]
    compiled = torch.compile(part.forward, fullgraph=True, dynamic=False, backend=backend)

    def forward(*args: Any, **kwargs: Any) -> Any:
        for module in dropping:  # in training it drops layers by a random value (transformers 5.17), here none
            module.training = module.layerdrop > 0 and module.training
        try:
            return compiled(*args, **kwargs)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise ModelError(
                f"{type(part).__name__} cannot be compiled as one graph ({reason}); set training.compile to false"
            ) from error

    part.forward = forward
