"""Parameters, gradients and optimizer state spread over the processes: torch's FSDP2, for what does not fit one GPU."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from minorkey.models.build import backbone_of
from minorkey.processes import process_count


def shard(network: nn.Module, device: torch.device) -> None:
    """Spread a network over the processes, in place; each block of its backbone is put together when it computes.

    Parameters become `DTensor`s, so an optimizer is built after this.
    """
    mesh = init_device_mesh(device.type, (process_count(),))
    for block in _blocks(backbone_of(network)):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The elements of the outermost lists of modules: the blocks of a ViT, the stages of others."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors put together from all processes, which call this at one time; others as they are."""
    return {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in tensors.items()}


def laid_out_as(value: Tensor, tensor: Tensor) -> Tensor:
    """A copy of a whole tensor on the device of another one and, where that one is, spread out like it."""
    if isinstance(tensor, DTensor):
        return distribute_tensor(value.to(tensor.device), tensor.device_mesh, tensor.placements)
    return value.to(tensor.device, copy=True)


@torch.no_grad()
def overwrite(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copy whole values into the tensors of their names."""
    for name, value in values.items():
        tensors[name].copy_(laid_out_as(value, tensors[name]))


@contextmanager
def put_together(network: nn.Module) -> Iterator[None]:
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
