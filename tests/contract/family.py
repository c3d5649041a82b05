"""What the contract tests know of a network family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minorkey.adapters.options import Role

Inputs = dict[str, Any]

ATTENTION: tuple[Role, ...] = ("q", "k", "v", "out")
MLP: tuple[Role, ...] = ("fc1", "fc2")
EACH = ATTENTION + MLP


@dataclass(frozen=True)
class Family:
    """A network architecture at tiny size, and what `find_targets` should find in it."""

    name: str
    make: Callable[[], nn.Module]
    blocks: int
    counts: Mapping[Role, int]  # layers per role; each part of a fused projection is one
    inputs: Callable[[], Inputs]
    read: Callable[[Any], list[Tensor]]  # what the network returns -> all its feature maps

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that it has layers of."""
        return tuple(self.counts)

    def build(self) -> nn.Module:
        """The network, in evaluation mode; the same random values every time, in norms and scales too."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            network = self.make().eval()
            for parameter in network.parameters():
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
                parameter.data.add_(torch.randn_like(parameter) / max(1, fan_in) ** 0.5)
            for name, buffer in network.named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    buffer.add_(0.5 * torch.rand_like(buffer))
        return network

    def outputs(self, network: nn.Module, inputs: Inputs) -> list[Tensor]:
        """All feature maps."""
        return self.read(network(**inputs))


def image(side: int = 32) -> Inputs:
    """Two square images of random pixels."""
    return {"pixel_values": torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1}


def each(count: int, roles: tuple[Role, ...] = EACH, **others: int) -> dict[Role, int]:
    """The same count of every role, and others."""
    return {**dict.fromkeys(roles, count), **others}  # type: ignore[typeddict-item]
