"""Parameters, gradients and optimizer state spread over the processes: torch's FSDP2, for what does not fit one GPU."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from minorkey.models.build import backbone_of
from minorkey.system.processes import process_count


def shard(network: nn.Module, device: torch.device, param_dtype: torch.dtype | None = None) -> None:
    """Spread a network over the processes, in place; each block of its backbone is whole while it computes.

    Parameters become `DTensor`s, so an optimizer is built after this.

    Args:
        network: on its device.
        device: the same.
        param_dtype: what parameters are sent and computed in, under autocast; the pieces that train, and the sums of
            gradients, are float32. None: all is. What blocks hand on is up to autocast, and is not cast.
    """
    policy = MixedPrecisionPolicy(param_dtype=param_dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    settings: dict[str, Any] = {"mesh": init_device_mesh(device.type, (process_count(),)), "mp_policy": policy}
    for block in _blocks(backbone_of(network)):
        fully_shard(block, **settings)
    fully_shard(network, **settings)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The elements of the outermost lists of modules: the blocks of a ViT, the stages of others."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole of tensors that processes have pieces of, all at one time; others as they are; without a graph."""
    detached = {name: value.detach() for name, value in tensors.items()}
    return {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in detached.items()}


def local(tensor: Tensor) -> Tensor:
    """This process's piece of a tensor that is spread out, in the same memory; others as they are."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def laid_out_as(value: Tensor, tensor: Tensor) -> Tensor:
    """A copy of a whole tensor where another one is, in its order in memory, and spread out as it is."""
    if isinstance(tensor, DTensor):
        return distribute_tensor(value.to(tensor.device), tensor.device_mesh, tensor.placements)
    return torch.empty_like(tensor, dtype=value.dtype).copy_(value)


@torch.no_grad()
def overwrite(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copy whole values into the tensors of their names."""
    for name, value in values.items():
        tensors[name].copy_(laid_out_as(value, tensors[name]))


@contextmanager
def unsharded(network: nn.Module) -> Iterator[None]:
    """Keep a sharded network whole in every process, so that each may call it as often as it likes."""
    parts = [module for module in network.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.unshard()
        part.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(part is not network, recurse=False)  # the outermost stays, as torch has it
            part.reshard()
