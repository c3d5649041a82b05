"""Which layers of a network an adapter goes to: found by their role in a block, and the block's index."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minorkey.adapters.options import MethodOptions, Role
from minorkey.errors import AdapterError

Layers = Mapping[Role, tuple[str, ...]]
"""Role -> names of layers; `#` stands for any number."""

ROLES: Layers = {
    "q": (
        "attention.q_proj", "attention.query", "attention.attention.query", "attention.self.query",
        "self_attn.q_proj", "attn.q_proj", "attn.q", "attn1.to_q", "attn2.to_q",
    ),
    "k": (
        "attention.k_proj", "attention.key", "attention.attention.key", "attention.self.key",
        "self_attn.k_proj", "attn.k_proj", "attn.k", "attn1.to_k", "attn2.to_k",
    ),
    "v": (
        "attention.v_proj", "attention.value", "attention.attention.value", "attention.self.value",
        "self_attn.v_proj", "attn.v_proj", "attn.v", "attn1.to_v", "attn2.to_v",
    ),
    "out": (
        "attention.o_proj", "attention.proj", "attention.output.dense", "self_attn.out_proj", "attn.proj",
        "attn1.to_out.0", "attn2.to_out.0",
    ),
    "fc1": (
        "mlp.fc1", "mlp.gate_proj", "mlp.up_proj", "mlp.dense1", "mlp.lin1", "mlp.c_fc", "intermediate.dense",
        "pwconv1", "pointwise_conv1", "mlp.fc1_g", "mlp.fc1_x", "mlp.w1", "mlp.w2", "mlp.w12", "ff.net.0.proj",
    ),
    "fc2": (
        "mlp.fc2", "mlp.down_proj", "mlp.dense2", "mlp.lin2", "mlp.c_proj", "output.dense",
        "pwconv2", "pointwise_conv2", "mlp.w3", "ff.net.2",
    ),
    "conv": (
        "layer.#.convolution", "shortcut.convolution", "shortcut.#.convolution",
        "layers.#.convolution", "layers.#.conv1.convolution", "aggregation.#.convolution",
        "expand_1x1.convolution", "reduce_1x1.convolution", "convolution",
        "conv1", "conv2", "conv3", "conv_shortcut", "downsample.0",
        "conv_pw", "conv_pwl", "conv_exp", "pw_exp.conv", "pw_proj.conv",
        "residual.conv1", "residual.conv2", "residual.conv3",
        "attention.spatial_reduction", "attention.sequence_reduction.sequence_reduction", "attn.sr",
    ),
}  # fmt: skip
"""Where layers of a role are within a block: the whole path after its number, so that a patch embedding's
`projection`, a `pooler.dense` or a stage's `downsample` do not match. A gated MLP has two first layers."""

FUSED: Mapping[str, tuple[Role, ...]] = {
    "attention.qkv": ("q", "k", "v"),
    "attn.qkv": ("q", "k", "v"),
    "attn.kv": ("k", "v"),
}
"""Projections that hold several matrices in one, in the order of their rows; each part is a target of its own."""

READS_WEIGHTS = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
"""Modules that may read the weights of their layers without calling them: an adapter there would be ignored."""

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

_IN_BLOCK = r"(?P<block>(?:.+?\.)?\d+)\.(?:{paths})"  # the outermost numbered module that leaves a known path
_ENDING = r"(?:(?P<block>(?:.+\.)?\d+)\.)?(?:[^\d.][^.]*\.)*(?:{paths})"  # the innermost, or none
_EMBEDDING = re.compile(r"(?:.+\.)?\w*(?:embed|stem)\w*\..+")


@dataclass(frozen=True)
class Target:
    """A layer that can carry an adapter, or a part of a fused one: then named `<layer>.q`, `.k` or `.v`."""

    name: str  # dotted module name, relative to the network
    role: Role
    block: int  # index of its block, 0-based, counted over all stages in the order of modules
    module: nn.Linear | nn.Conv2d
    part: tuple[int, int] | None = None  # (index, count) in a fused projection

    @property
    def weight(self) -> Tensor:
        """The weight; of a part its rows, a view: `(out, in)`, or `(out, in, k, k)` of a convolution."""
        if self.part is None:
            return self.module.weight
        index, count = self.part
        return self.module.weight.chunk(count)[index]

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Rows and columns of the weight as a matrix: `(out, in)`, or `(out, in k k)` of a convolution."""
        out, columns = self.weight.flatten(1).shape
        return out, columns


def find_targets(
    network: nn.Module, roles: Collection[Role] | None = None, layers: Layers | None = None
) -> list[Target]:
    """Find the layers of a network by role, in the order of its modules.

    A block is a numbered module with at least one known layer. Convolutions with groups, dilation, padding
    other than zeros or a forward pass of their own are left out: PEFT cannot adapt and merge them.

    Args:
        network: a backbone or any other module, without adapters.
        roles: the roles wanted; None for all.
        layers: further names per role; a layer matches when its name is one or ends in one. Without a numbered
            module around it, it is in a block of all such layers.

    Raises:
        AdapterError: if a role in `roles` or a name in `layers` has no layer; with None, if no layer has any role.
    """
    blocks: dict[str, int] = {}
    targets: list[Target] = []
    for name, module, role, block in _known_layers(network, layers or {}):
        if isinstance(module, nn.Linear | nn.Conv2d) and _adaptable(network, name, module):
            targets += _targets_of(name, module, role, blocks.setdefault(block, len(blocks)))
    _check_found(network, targets, roles, layers or {})
    return [target for target in targets if roles is None or target.role in roles]


def adapted_targets(network: nn.Module, method: MethodOptions) -> list[Target]:
    """The layers that a method adapts: its roles, from its first block on. The network is left as it is.

    Raises:
        AdapterError: if a wanted role has no layer, the first block or a step of the rank ramp is past the last
            block, a rank is larger than a layer allows, or weights are quantised or not finite.
    """
    _check_kinds(network, method.layers)
    found = find_targets(network, layers=method.layers)
    blocks = 1 + max(target.block for target in found)
    _check_ramp(method, blocks)
    first = method.spec.default_first_block(blocks) if method.first_block is None else method.first_block
    wanted = find_targets(network, method.roles, method.layers)
    targets = [target for target in wanted if target.block >= first]
    if not targets:
        last = max(target.block for target in wanted)
        raise AdapterError(
            f"first_block {first} leaves nothing to adapt: the network has {blocks} blocks; "
            f"set first_block to 0 ... {last}"
        )
    for target in targets:
        _check_weight(target)
        _check_rank(target, method.rank_in(target.block))
    return targets


def _known_layers(network: nn.Module, layers: Layers) -> Iterator[tuple[str, nn.Module, Role | None, str]]:
    """Modules with a known name: name, module, role (None of a fused projection), name of the block."""
    own = [(role, _pattern(_ENDING, paths)) for role, paths in layers.items()]
    table = [(role, _pattern(_IN_BLOCK, paths)) for role, paths in [*ROLES.items(), (None, FUSED)]]
    for name, module in network.named_modules():
        for role, pattern in [*own, *([] if _EMBEDDING.fullmatch(name) else table)]:
            if match := pattern.fullmatch(name):
                yield name, module, role, match["block"] or _innermost_numbered(name)
                break


def _innermost_numbered(name: str) -> str:
    match = re.match(r"(?:.+\.)?\d+(?=\.)", name)
    return match[0] if match else ""


def _pattern(frame: str, paths: Iterable[str]) -> re.Pattern[str]:
    escaped = (re.escape(path).replace(r"\#", r"\d+") for path in paths)
    return re.compile(frame.format(paths="|".join(escaped)))


def _adaptable(network: nn.Module, name: str, module: nn.Linear | nn.Conv2d) -> bool:
    if isinstance(network.get_submodule(name.rpartition(".")[0]), READS_WEIGHTS):
        return False
    if isinstance(module, nn.Linear):
        return True
    plain = type(module).forward is nn.Conv2d.forward and module.padding_mode == "zeros"
    return plain and module.groups == 1 and set(module.dilation) == {1}


def _targets_of(name: str, module: nn.Linear | nn.Conv2d, role: Role | None, block: int) -> Iterator[Target]:
    if role is not None:
        yield Target(name, role, block, module)
        return
    parts = next(parts for path, parts in FUSED.items() if name.endswith(path))
    for index, part in enumerate(parts):
        yield Target(f"{name}.{part}", part, block, module, (index, len(parts)))


def _check_kinds(network: nn.Module, layers: Layers) -> None:
    for name, module, _, _ in _known_layers(network, layers):
        kind = type(module)
        if "Linear" in kind.__name__ and not isinstance(module, nn.Linear):
            raise AdapterError(
                f"layer '{name}' is a {kind.__module__}.{kind.__name__}, expected a torch.nn.Linear; "
                "load the backbone unquantised"
            )


def _check_ramp(method: MethodOptions, blocks: int) -> None:
    past = sorted(start for start in method.rank_ramp or {} if start >= blocks)
    if past:
        raise AdapterError(
            f"rank_ramp names no block: {', '.join(map(str, past))}, the backbone has {blocks} blocks; "
            f"set its steps to 0 ... {blocks - 1}"
        )


def _check_weight(target: Target) -> None:
    weight = target.weight
    if weight.dtype not in FLOATS or type(target.module.weight.data) is not Tensor:
        kind = type(target.module.weight.data).__name__
        raise AdapterError(
            f"layer '{target.name}' has weights of {weight.dtype} ({kind}), expected a plain tensor of float32, "
            "float16, bfloat16 or float64; load the backbone unquantised"
        )
    if not weight.is_meta and not weight.isfinite().all():
        raise AdapterError(
            f"layer '{target.name}' has weights that are not finite (NaN or infinite); load intact pretrained weights"
        )


def _check_rank(target: Target, rank: int) -> None:
    out, columns = target.matrix_shape
    if rank > min(out, columns):
        raise AdapterError(
            f"rank {rank} is too large for layer '{target.name}' of size {out} x {columns}; "
            f"set rank to at most {min(out, columns)}"
        )


def _check_found(network: nn.Module, targets: list[Target], roles: Collection[Role] | None, layers: Layers) -> None:
    for path in (path for paths in layers.values() for path in paths):
        if not any(_pattern(_ENDING, [path]).fullmatch(target.name) for target in targets):
            raise AdapterError(_nothing_found(network, f"can be adapted under the given name '{path}'", layers))
    for choice in [tuple(ROLES)] if roles is None else [(role,) for role in roles]:
        if not any(target.role in choice for target in targets):
            wanted = f"has the role {', '.join(choice)}"
            raise AdapterError(f"{_nothing_found(network, wanted, layers)}; name yours in the method's layers")


def _nothing_found(network: nn.Module, wanted: str, layers: Layers) -> str:
    seen = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    left_out = [
        name
        for name, module, _, _ in _known_layers(network, layers)
        if isinstance(module, nn.Linear | nn.Conv2d) and not _adaptable(network, name, module)
    ]
    kinds = f"; of a kind that cannot be adapted: {_shortened(left_out)}" if left_out else ""
    return f"no layer of {type(network).__name__} {wanted}; layers seen: {_shortened(seen)}{kinds}"


def _shortened(names: list[str], shown: int = 12) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more or "none"
