"""What the blocks of a network put out, taken while it runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import takewhile

from torch import Tensor, nn

from minorkey.adapters.roles import Layers
from minorkey.adapters.targets import Target, find_targets


@contextmanager
def recorded_blocks(network: nn.Module, layers: Layers | None = None) -> Iterator[dict[int, Tensor]]:
    """While open, each forward pass leaves the output of every block here, as tokens `(N, C)`, by block index.

    Args:
        network: a network in which layers are found by role.
        layers: further names of layers per role; they too make a block.

    Raises:
        AdapterError: no layer is found.
    """
    tokens: dict[int, Tensor] = {}
    hooks = []
    for block, targets in _targets_by_block(network, layers).items():
        module = network.get_submodule(container([target.name for target in targets]))
        channels, convolves = targets[-1].matrix_shape[0], any(isinstance(m, nn.Conv2d) for m in module.modules())
        hooks.append(module.register_forward_hook(partial(_record, tokens, block, channels, convolves)))
    try:
        yield tokens
    finally:
        for hook in hooks:
            hook.remove()


def container(names: Sequence[str]) -> str:
    """The innermost numbered module around all of these layers, and so the block they are in.

    >>> container(["layer.3.attention.q_proj", "layer.3.mlp.fc1"])
    'layer.3'
    """
    paths = [name.split(".")[:-1] for name in names]
    shared = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))]
    last = max((place for place, part in enumerate(shared) if part.isdigit()), default=len(shared))
    return ".".join(shared[: last + 1])


def as_tokens(output: Tensor | tuple, channels: int, convolves: bool) -> Tensor:
    """A block's output as `(N, C)`: from `(B, N, C)`, `(B, H, W, C)` or `(B, C, H, W)`, or a tuple that begins so.

    Where C could be either side of a map, channels come first if the block has convolutions.
    """
    hidden = output if isinstance(output, Tensor) else output[0]
    if hidden.ndim == 4 and hidden.shape[1] == channels and (convolves or hidden.shape[-1] != channels):
        hidden = hidden.movedim(1, -1)
    return hidden.flatten(0, -2)


def _record(tokens: dict[int, Tensor], block: int, channels: int, convolves: bool, *call: object) -> None:
    """A forward hook, called with module, inputs and output."""
    tokens[block] = as_tokens(call[-1], channels, convolves)  # type: ignore[arg-type]


def _targets_by_block(network: nn.Module, layers: Layers | None) -> dict[int, list[Target]]:
    blocks: dict[int, list[Target]] = {}
    for target in find_targets(network, layers=layers):
        blocks.setdefault(target.block, []).append(target)
    return blocks
