"""Which layers of a backbone an adapter goes to: found by their role in a transformer block and its index."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from minorkey.adapters.options import MethodOptions, Role
from minorkey.errors import AdapterError

ROLES: dict[Role, tuple[str, ...]] = {
    "q": ("attention.q_proj", "attention.attention.query", "attention.self.query"),
    "k": ("attention.k_proj", "attention.attention.key", "attention.self.key"),
    "v": ("attention.v_proj", "attention.attention.value", "attention.self.value"),
    "out": ("attention.o_proj", "attention.output.dense"),
    "fc1": ("mlp.fc1", "mlp.gate_proj", "mlp.up_proj", "intermediate.dense", "pwconv1"),
    "fc2": ("mlp.fc2", "mlp.down_proj", "output.dense", "pwconv2"),
}
"""Role -> where layers of that role are within a block. A gated MLP has two first layers."""

FUSED = ("attention.qkv", "attn.qkv")
"""Layers that hold query, key and value in one matrix; they are three, and must be adapted as three."""

_IN_BLOCK = re.compile(r"(?P<block>(?:.+\.)?\d+)\.(?P<path>[a-z_]\w*(?:\.[a-z_]\w*)*)")


@dataclass(frozen=True)
class Target:
    """A layer that can carry an adapter."""

    name: str  # dotted module name, relative to the backbone
    role: Role
    block: int  # index of its block, 0-based, counted over all stages
    module: nn.Linear | nn.Conv2d

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Rows and columns of the weight as a matrix: `(out, in)`, or `(out, in k k)` of a convolution."""
        out, columns = self.module.weight.flatten(1).shape
        return out, columns


def find_targets(backbone: nn.Module, roles: Collection[Role] | None = None) -> list[Target]:
    """Find the layers of a backbone by role, in the order of its modules.

    A block is the innermost numbered module around a layer, and a layer's role is decided by its whole path
    within the block: a patch embedding's `projection`, a `pooler.dense`, a stage's `downsample` do not match.

    Args:
        backbone: a transformers backbone, without adapters.
        roles: the roles wanted; None for all.

    Raises:
        AdapterError: if no layer matches, or query, key and value are one matrix.
    """
    paths = {path: role for role, found_at in ROLES.items() for path in found_at}
    blocks: dict[str, int] = {}
    targets = []
    for name, module in backbone.named_modules():
        match = _IN_BLOCK.fullmatch(name)
        if match is None or not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        if match["path"] in FUSED:
            raise AdapterError(
                f"layer '{name}' holds query, key and value in one matrix, expected three layers; "
                "use a backbone that keeps them apart, such as dinov2, beit or swin"
            )
        if role := paths.get(match["path"]):
            index = blocks.setdefault(match["block"], len(blocks))
            targets.append(Target(name, role, index, module))
    wanted = [target for target in targets if roles is None or target.role in roles]
    if not wanted:
        raise AdapterError(_nothing_found(backbone, roles))
    return wanted


def adapted_targets(backbone: nn.Module, method: MethodOptions) -> list[Target]:
    """The layers that a method adapts: its roles, from its first block on.

    Raises:
        AdapterError: if no layer matches, the first block is past the last, or the rank is too large.
    """
    blocks = 1 + max(target.block for target in find_targets(backbone))
    first = method.spec.default_first_block(blocks) if method.first_block is None else method.first_block
    if first >= blocks:
        raise AdapterError(
            f"first_block {first} leaves nothing to adapt: the backbone has {blocks} blocks; "
            f"set first_block to 0 ... {blocks - 1}"
        )
    targets = [target for target in find_targets(backbone, method.roles) if target.block >= first]
    for target in targets:
        _check_rank(target, method.rank)
    return targets


def _check_rank(target: Target, rank: int) -> None:
    out, columns = target.matrix_shape
    if rank > min(out, columns):
        raise AdapterError(
            f"rank {rank} is too large for layer '{target.name}' of size {out} x {columns}; "
            f"set rank to at most {min(out, columns)}"
        )


def _nothing_found(backbone: nn.Module, roles: Collection[Role] | None, shown: int = 12) -> str:
    wanted = ", ".join(ROLES if roles is None else roles)
    layers = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    seen = ", ".join(layers[:shown]) + (f" and {len(layers) - shown} more" if len(layers) > shown else "")
    return (
        f"no layer of {type(backbone).__name__} has the role {wanted}; layers seen: {seen or 'none'}; "
        "add its layer names to ROLES in minorkey/adapters/targets.py"
    )
