"""torch.compile for training: the forward pass of a network as one graph."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException
from transformers import Mask2FormerForUniversalSegmentation

from minorkey.errors import ModelError


def compile_network(network: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile the passes of a network in place; names in its state dict stay. `precision.computing` goes around it.

    Of a Mask2Former, backbone and decoders are compiled; its criterion matches on the host.

    Args:
        network: whose training images are all of one size: each further size is compiled anew.
        backend: of `torch.compile`.

    Raises (from the passes):
        ModelError: the passes are no single graph.
    """
    by_masks = isinstance(network, Mask2FormerForUniversalSegmentation)
    part: Any = network.model if by_masks else network
    decoders = [part.transformer_module.decoder] if by_masks else []
    compiled = torch.compile(part.forward, fullgraph=True, dynamic=False, backend=backend)

    def forward(*args: Any, **kwargs: Any) -> Any:
        for decoder in decoders:  # in training it drops layers by a random value (transformers 5.17), here none
            decoder.training = decoder.layerdrop > 0 and decoder.training
        try:
            return compiled(*args, **kwargs)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise ModelError(
                f"{type(network).__name__} cannot be compiled as one graph ({reason}); set training.compile to false"
            ) from error

    part.forward = forward
