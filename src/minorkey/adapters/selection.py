"""The layers that a method adapts, checked before any of them is touched."""

from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from minorkey.adapters.options import MethodOptions
from minorkey.adapters.roles import Layers
from minorkey.adapters.targets import Target, find_targets, known_layers
from minorkey.errors import AdapterError

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def adapted_targets(network: nn.Module, method: MethodOptions) -> list[Target]:
    """The layers that a method adapts: its roles, from its first block on. The network is left as it is.

    Raises:
        AdapterError: if a wanted role has no layer, the first block or a step of the rank ramp is past the last
            block, a rank is larger than a layer allows, or weights are quantised, not finite, computed or shared.
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
        check_weight(target)
        check_rank(target, method.rank_in(target.block))
    check_owned(network, [(target.name, target.module, _remade(target)) for target in targets])
    return targets


def _remade(target: Target) -> list[Tensor]:
    """What of a layer is changed in place, or, where it is fused, made anew."""
    layer = target.module
    return [layer.weight] if target.part is None or layer.bias is None else [layer.weight, layer.bias]


def _check_kinds(network: nn.Module, layers: Layers) -> None:
    for name, module, _, _ in known_layers(network, layers):
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


def check_weight(target: Target) -> None:
    """Raise `AdapterError` unless the weight is a plain tensor of finite floats."""
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


def check_rank(target: Target, rank: int) -> None:
    """Raise `AdapterError` unless the rank is 1 ... the smaller side of the weight."""
    out, columns = target.matrix_shape
    if not 1 <= rank <= min(out, columns):
        raise AdapterError(
            f"rank {rank} does not fit layer '{target.name}' of size {out} x {columns}; give 1 to {min(out, columns)}"
        )


def check_owned(network: nn.Module, layers: Iterable[tuple[str, nn.Module, Iterable[Tensor]]]) -> None:
    """Attaching and folding change weights in place: they must be parameters that one layer alone has.

    Args:
        network: with the layers.
        layers: name, module, and what of it is adapted.

    Raises:
        AdapterError: a layer, or a weight of it, is used in several places, or is no parameter.
    """
    uses = Counter(id(held) for m in network.modules() for held in (*m._parameters.values(), *m._modules.values()))
    for name, module, weights in layers:
        counts = [uses[id(weight)] for weight in weights]
        if {*counts, uses[id(module)]} == {1}:
            continue
        found = "is used in several places" if all(counts) else "is computed from other parameters, as in weight norm"
        raise AdapterError(
            f"the weight of layer '{name}' {found}, expected a parameter of this layer alone; "
            "give the layer such a weight first, or choose roles without it"
        )
