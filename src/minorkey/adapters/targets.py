"""The layers of a network that can carry an adapter: found by their role in a block, and the block's index."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from minorkey.adapters.options import Role
from minorkey.adapters.roles import FUSED, ROLES, Layers, fused_roles
from minorkey.errors import AdapterError

READS_WEIGHTS = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
"""Modules that may read the weights of their layers without calling them: an adapter there would be ignored."""

_IN_BLOCK = r"(?P<block>(?:.+?\.)?\d+)\.(?:{paths})"  # the outermost numbered module that leaves a known path
_ENDING = r"(?:(?P<block>(?:.+\.)?\d+)\.)?(?:[^\d.][^.]*\.)*(?:{paths})"  # the innermost, or none
_EMBEDDING = re.compile(r"(?:.+\.)?\w*(?:embed|(?<![a-z])stem)\w*\..+")  # no system


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

    A block is a numbered module with at least one known layer. `left_out` names the known ones that are of a
    kind that cannot be adapted.

    Args:
        network: a backbone or any other module, without adapters.
        roles: the roles wanted; None for all.
        layers: further names per role; a layer matches when its name is one or ends in one. Without a numbered
            module around it, it is in a block of all such layers.

    Raises:
        AdapterError: if a role in `roles` or a name in `layers` has no layer; with None, if no layer has any role; if a
            fused projection is not of equal parts.
    """
    blocks: dict[str, int] = {}
    targets: list[Target] = []
    for name, module, role, block in known_layers(network, layers or {}):
        if isinstance(module, nn.Linear | nn.Conv2d) and _adaptable(network, name, module, fused=role is None):
            targets += _targets_of(name, module, role, blocks.setdefault(block, len(blocks)))
    _check_found(network, targets, roles, layers or {})
    chosen = [target for target in targets if roles is None or target.role in roles]
    _check_parts(chosen, {_around(target.name): target for target in targets if target.role == "out"})
    return chosen


def left_out(network: nn.Module, roles: Collection[Role] | None = None, layers: Layers | None = None) -> list[str]:
    """Names of the layers that have a role but cannot be adapted, as `find_targets` leaves them out.

    PEFT cannot adapt and merge layers with a forward pass of their own, nor convolutions with groups, dilation or
    padding other than zeros; some modules of torch do not call their layers; and a fused projection is made anew, so
    that it must be no more than a plain one.
    """
    return [
        name
        for name, module, role, _ in known_layers(network, layers or {})
        if (roles is None or role in roles)
        and isinstance(module, nn.Linear | nn.Conv2d)
        and not _adaptable(network, name, module, fused=role is None)
    ]


def known_layers(network: nn.Module, layers: Layers) -> Iterator[tuple[str, nn.Module, Role | None, str]]:
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


def _around(name: str) -> str:
    """The name of the module that one of a name lies in."""
    return name.rpartition(".")[0]


def may_be_passed_by(network: nn.Module, name: str) -> bool:
    """Whether the module around a layer may read its weights without calling it."""
    return isinstance(network.get_submodule(_around(name)), READS_WEIGHTS)


def _adaptable(network: nn.Module, name: str, module: nn.Linear | nn.Conv2d, *, fused: bool) -> bool:
    if may_be_passed_by(network, name):
        return False
    if fused and (type(module) is not nn.Linear or module._buffers):
        return False
    if isinstance(module, nn.Linear):
        return type(module).forward is nn.Linear.forward
    plain = type(module).forward is nn.Conv2d.forward and module.padding_mode == "zeros"
    return plain and module.groups == 1 and set(module.dilation) == {1}


def _targets_of(name: str, module: nn.Linear | nn.Conv2d, role: Role | None, block: int) -> Iterator[Target]:
    if role is not None:
        yield Target(name, role, block, module)
        return
    parts = fused_roles(name)
    for index, part in enumerate(parts):
        yield Target(f"{name}.{part}", part, block, module, (index, len(parts)))


def _check_found(network: nn.Module, targets: list[Target], roles: Collection[Role] | None, layers: Layers) -> None:
    for path in (path for paths in layers.values() for path in paths):
        if not any(_pattern(_ENDING, [path]).fullmatch(target.name) for target in targets):
            raise AdapterError(_nothing_found(network, f"can be adapted under the given name '{path}'", layers))
    for choice in [tuple(ROLES)] if roles is None else [(role,) for role in roles]:
        if not any(target.role in choice for target in targets):
            wanted = f"has the role {', '.join(choice)}"
            raise AdapterError(f"{_nothing_found(network, wanted, layers)}; name yours in the method's layers")


def _check_parts(targets: list[Target], outputs: Mapping[str, Target]) -> None:
    """Refuse unequal parts; those of grouped queries may divide, and show at the output layer of their attention.

    Args:
        targets: whole layers, and parts of fused ones.
        outputs: name of an attention -> its output layer.
    """
    for target in targets:
        rows, count = len(target.module.weight), target.part[1] if target.part else 1
        layer = _around(target.name)
        out = outputs.get(_around(layer)) if count > 1 else None
        if rows % count or (out is not None and rows != count * out.matrix_shape[1]):
            raise AdapterError(
                f"layer '{layer}' has {rows} rows, which cannot be {count} equal parts for query, key and value, as of "
                "grouped queries; choose other roles for the method, or make it a layer for each"
            )


def _nothing_found(network: nn.Module, wanted: str, layers: Layers) -> str:
    seen = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    unfit = left_out(network, layers=layers)
    kinds = f"; of a kind that cannot be adapted: {shortened(unfit)}" if unfit else ""
    return f"no layer of {type(network).__name__} {wanted}; layers seen: {shortened(seen)}{kinds}"


def shortened(names: list[str], shown: int = 12) -> str:
    """Names for a message: the first few, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more or "none"
