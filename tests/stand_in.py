"""A stand-in for training."""

import torch
from torch import nn


@torch.no_grad()
def train(network: nn.Module) -> None:
    """Move every parameter that requires gradients, at random."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
