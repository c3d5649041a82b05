"""Batch norm over the images of all processes, on any device.

torch's own `SyncBatchNorm` does the same on GPUs alone, so that nothing of it could be tested on a CPU.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from minorkey.system.processes import process_count


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """An `nn.BatchNorm2d` that normalises, in training, by the statistics of the batches of all processes.

    Each process gives as many elements; parameters, buffers and evaluation are those of `nn.BatchNorm2d`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `(B, C, H, W)`, in float32 as torch does under autocast."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        mean = _mean_of_all(values.mean(dim=(0, 2, 3)))
        centred = values - mean[:, None, None]
        variance = _mean_of_all(centred.square().mean(dim=(0, 2, 3)))
        count = values.numel() // values.shape[1] * process_count()
        self._note(mean.detach(), variance.detach() * count / (count - 1))
        output = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            output = output * self.weight[:, None, None] + self.bias[:, None, None]
        return output.to(input.dtype)

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, with the momentum or, without one, as a plain average."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def globalise(network: nn.Module) -> None:
    """Turn every `nn.BatchNorm2d` into a `GlobalBatchNorm2d`, in place: names and tensors stay as they are."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GlobalBatchNorm2d


class _Sum(torch.autograd.Function):
    """Sum over the processes. What each adds is in the result of all, so gradients are summed up as well."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


def _mean_of_all(value: Tensor) -> Tensor:
    return _Sum.apply(value) / process_count()
